//! Linkage as a library: known sets, made-up people, properties, private linkage, registers.

mod febrl;
mod made;
mod people;
mod private;
mod register;
