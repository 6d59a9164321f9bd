//! Average risk: the mean over rows of 1 / size of the row's class (El Emam, "Guide to the De-Identification of Personal
//! Health Information", CRC Press 2013, ch. 16).

use crate::Classes;

pub(crate) fn holds(classes: &Classes, maximum: f64) -> bool {
    classes.rows() == 0 || classes.marketer() <= maximum
}
