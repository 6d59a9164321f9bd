//! The composition root: the order of stages, jobs that resume, serving.
