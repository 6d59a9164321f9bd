//! DataFusion in process behind the Engine trait.
