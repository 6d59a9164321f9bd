//! Reading uploads as clients make them, and as nobody should.

mod damage;
mod made;
mod recorded;
mod write;
