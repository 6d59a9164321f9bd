//! Uploads, as clients were recorded making them and as they are made here; and files told as xorbs.

mod damage;
mod made;
mod planned;
mod recorded;
mod write;
