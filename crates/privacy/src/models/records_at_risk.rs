//! Records at risk: the share of rows whose prosecutor risk is above a threshold (El Emam 2013, ch. 16).

use crate::Classes;

pub(crate) fn holds(classes: &Classes, risk: f64, share: f64) -> bool {
    classes.rows() == 0 || classes.prosecutor(risk).at_risk_share <= share
}
