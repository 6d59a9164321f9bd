//! Random-effects pooling over sites, with the interval that a new site's value should lie in.

use serde::{Deserialize, Serialize};

use crate::special::student_quantile;

/// Values of one measure over sites, pooled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// Which measure.
    pub name: String,
    /// Sites that have it.
    pub sites: usize,
    /// Mean over sites.
    pub value: f64,
    /// 95 % confidence interval of the mean (Hartung and Knapp 2001).
    pub interval: Option<(f64, f64)>,
    /// 95 % prediction interval for another site (Higgins et al. 2009); from three sites on.
    pub prediction: Option<(f64, f64)>,
    /// Standard deviation between sites, on the scale that was pooled.
    pub between_sites: f64,
    /// Scale that was pooled: `as it is`, `log`, `log odds` (Snell et al. 2018).
    pub scale: String,
}

/// Variance between sites by restricted maximum likelihood.
#[expect(clippy::cast_precision_loss, reason = "few sites")]
fn between(values: &[(f64, f64)]) -> f64 {
    let k = values.len() as f64;
    let mean = values.iter().map(|(y, _)| y).sum::<f64>() / k;
    let mut tau2 = values.iter().map(|(y, _)| (y - mean) * (y - mean)).sum::<f64>() / (k - 1.0);
    for _ in 0..500 {
        let w: Vec<f64> = values.iter().map(|(_, se)| 1.0 / (se * se + tau2)).collect();
        let (sum, squares): (f64, f64) = w.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
        let mean = values.iter().zip(&w).map(|((y, _), w)| y * w).sum::<f64>() / sum;
        let top: f64 = values.iter().zip(&w).map(|((y, se), w)| w * w * ((y - mean) * (y - mean) - se * se)).sum();
        let next = (top / squares + 1.0 / sum).max(0.0);
        if (next - tau2).abs() < 1e-14 * (1.0 + tau2) {
            return next;
        }
        tau2 = next;
    }
    tau2
}

/// Pools values with standard errors.
#[expect(clippy::cast_precision_loss, reason = "few sites")]
pub(crate) fn pool(name: &str, values: &[(f64, f64)]) -> Option<Pooled> {
    let logit = |x: f64| libm::log(x / (1.0 - x));
    let is_share = matches!(name, "harrell_c" | "uno_c" | "auc");
    let is_ratio = name == "observed_over_expected";
    let transformed: Vec<(f64, f64)> = values
        .iter()
        .filter(|(y, se)| {
            *se > 0.0 && se.is_finite() && (!is_share || (*y > 0.0 && *y < 1.0)) && (!is_ratio || *y > 0.0)
        })
        .map(|(y, se)| match () {
            () if is_share => (logit(*y), se / (y * (1.0 - y))),
            () if is_ratio => (libm::log(*y), se / y),
            () => (*y, *se),
        })
        .collect();
    let k = transformed.len();
    if k == 0 {
        return None;
    }
    let back = |x: f64| match () {
        () if is_share => crate::tasks::logistic(x),
        () if is_ratio => libm::exp(x),
        () => x,
    };
    let tau2 = if k > 1 { between(&transformed) } else { 0.0 };
    let w: Vec<f64> = transformed.iter().map(|(_, se)| 1.0 / (se * se + tau2)).collect();
    let sum: f64 = w.iter().sum();
    let mean = transformed.iter().zip(&w).map(|((y, _), w)| y * w).sum::<f64>() / sum;
    let mut variance = 1.0 / sum;
    let interval = (k > 1).then(|| {
        let spread: f64 = transformed.iter().zip(&w).map(|((y, _), w)| w * (y - mean) * (y - mean)).sum();
        // Never narrower than without the correction (Röver et al. 2015).
        variance *= (spread / (k as f64 - 1.0)).max(1.0);
        let t = student_quantile(0.975, k as f64 - 1.0) * variance.sqrt();
        (back(mean - t), back(mean + t))
    });
    let prediction = (k > 2).then(|| {
        let t = student_quantile(0.975, k as f64 - 2.0) * (tau2 + variance).sqrt();
        (back(mean - t), back(mean + t))
    });
    let scale = if is_share {
        "log odds"
    } else if is_ratio {
        "log"
    } else {
        "as it is"
    };
    Some(Pooled {
        name: name.to_owned(),
        sites: k,
        value: back(mean),
        interval,
        prediction,
        between_sites: tau2.sqrt(),
        scale: scale.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_that_agree_have_no_spread_between_them() {
        let pooled = pool("calibration_slope", &[(1.0, 0.1), (1.0, 0.2), (1.0, 0.3)]).unwrap();
        assert!((pooled.value - 1.0).abs() < 1e-12 && pooled.between_sites < 1e-6);
    }

    /// Two sites with equal errors: the restricted likelihood is largest where the variance between them is half of the
    /// squared distance less the variance within.
    #[test]
    fn two_sites_by_hand() {
        let pooled = pool("calibration_slope", &[(0.8, 0.1), (1.2, 0.1)]).unwrap();
        assert!((pooled.value - 1.0).abs() < 1e-12);
        assert!((pooled.between_sites * pooled.between_sites - (0.08 - 0.01)).abs() < 1e-9);
        assert!(pooled.prediction.is_none());
    }
}
