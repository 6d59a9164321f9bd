//! Distribution functions, computed with `libm` so that every machine gets the same bits.

/// Standard normal quantile (Wichura 1988, algorithm AS 241, PPND16).
#[expect(clippy::unreadable_literal, clippy::excessive_precision, reason = "constants as published")]
pub(crate) fn normal_quantile(p: f64) -> f64 {
    fn ratio(x: f64, top: &[f64], bottom: &[f64]) -> f64 {
        let horner = |c: &[f64]| c.iter().rev().fold(0.0, |sum, c| sum * x + c);
        horner(top) / horner(bottom)
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * ratio(
            r,
            &[
                3.3871328727963666080,
                133.14166789178437745,
                1971.5909503065514427,
                13731.693765509461125,
                45921.953931549871457,
                67265.770927008700853,
                33430.575583588128105,
                2509.0809287301226727,
            ],
            &[
                1.0,
                42.313330701600911252,
                687.18700749205790830,
                5394.1960214247511077,
                21213.794301586595867,
                39307.895800092710610,
                28729.085735721942674,
                5226.4952788528545610,
            ],
        );
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let r = (-libm::log(tail)).sqrt();
    let x = if r <= 5.0 {
        ratio(
            r - 1.6,
            &[
                1.42343711074968357734,
                4.63033784615654529590,
                5.76949722146069140550,
                3.64784832476320460504,
                1.27045825245236838258,
                0.241780725177450611770,
                0.0227238449892691845833,
                7.74545014278341407640e-4,
            ],
            &[
                1.0,
                2.05319162663775882187,
                1.67638483018380384940,
                0.689767334985100004550,
                0.148103976427480074590,
                0.0151986665636164571966,
                5.47593808499534494600e-4,
                1.05075007164441684324e-9,
            ],
        )
    } else {
        ratio(
            r - 5.0,
            &[
                6.65790464350110377720,
                5.46378491116411436990,
                1.78482653991729133580,
                0.296560571828504891230,
                0.0265321895265761230930,
                1.24266094738807843860e-3,
                2.71155556874348757815e-5,
                2.01033439929228813265e-7,
            ],
            &[
                1.0,
                0.599832206555887937690,
                0.136929880922735805310,
                0.0148753612908506148525,
                7.86869131145613259100e-4,
                1.84631831751005468180e-5,
                1.42151175831644588870e-7,
                2.04426310338993978564e-15,
            ],
        )
    };
    if q < 0.0 { -x } else { x }
}

/// Area of the chi-squared distribution above `x`: the regularised upper incomplete gamma function (Press et al. 2007,
/// section 6.2).
pub(crate) fn chi_squared_above(x: f64, degrees: f64) -> f64 {
    let (a, x) = (degrees / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let front = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..1000 {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * 1e-16 {
                break;
            }
        }
        return (1.0 - sum * front).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..1000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < 1e-16 {
            break;
        }
    }
    (front * h).clamp(0.0, 1.0)
}

/// Regularised incomplete beta function (Press et al. 2007, section 6.4).
fn beta_below(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front =
        libm::exp(libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x));
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_below(b, a, 1.0 - x);
    }
    let mut c = 1.0;
    let mut d = 1.0 / (1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / (1.0 + even * d);
        c = 1.0 + even / c;
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / (1.0 + odd * d);
        c = 1.0 + odd / c;
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * h / a
}

/// Quantile of Student's t distribution for a probability above one half, by bisection.
pub(crate) fn student_quantile(p: f64, degrees: f64) -> f64 {
    let above = |t: f64| 0.5 * beta_below(degrees / 2.0, 0.5, degrees / (degrees + t * t));
    let (mut low, mut high) = (0.0, 1e7);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if above(middle) > 1.0 - p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_published_tables() {
        // Wichura 1988; NIST/SEMATECH e-Handbook, section 1.3.6.7.
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-14);
        assert!((normal_quantile(1e-10) + 6.361_340_902_404_056).abs() < 1e-12);
        assert!((student_quantile(0.975, 2.0) - 4.302_652_729_911_275).abs() < 1e-9);
        assert!((student_quantile(0.975, 30.0) - 2.042_272_456_301_238).abs() < 1e-9);
        assert!((chi_squared_above(3.841_458_820_694_124, 1.0) - 0.05).abs() < 1e-12);
        assert!((chi_squared_above(18.307_038_053_275_14, 10.0) - 0.05).abs() < 1e-12);
    }
}
