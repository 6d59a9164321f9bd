//! Files of people and institutions become source records, problems and counts.
