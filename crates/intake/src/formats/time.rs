//! Times as the formats write them. Nothing is invented: what is not stated lowers the precision.

use acequia_omop::{DateError, PartialDate, Precision, When, day_number};
use acequia_types::Day;

/// Reads digits of a fixed number at a place.
fn digits(text: &[u8], from: usize, count: usize) -> Option<u32> {
    let part = text.get(from..from + count)?;
    part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

fn moment(year: u32, month: Option<u32>, day: Option<u32>) -> Result<When, DateError> {
    let year = i32::try_from(year).ok().filter(|year| *year > 0).ok_or(DateError::Calendar)?;
    let first = Day::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1)).ok_or(DateError::Calendar)?;
    let precision = match (month, day) {
        (None, _) => Precision::Year,
        (Some(_), None) => Precision::Month,
        (Some(_), Some(_)) => Precision::Day,
    };
    Ok(When { day: day_number(first), precision, ..When::default() })
}

/// Seconds of a day; a leap second counts as the one before it.
fn clock(hour: u32, minute: u32, second: u32) -> Result<u32, DateError> {
    if hour > 23 || minute > 59 || second > 60 {
        return Err(DateError::Calendar);
    }
    Ok(hour * 3600 + minute * 60 + second.min(59))
}

/// `+0200`, `-05:00`, `Z`: minutes east of UTC.
fn offset(text: &[u8]) -> Result<Option<i16>, DateError> {
    let sign = match text.first() {
        None => return Ok(None),
        Some(b'Z') if text.len() == 1 => return Ok(Some(0)),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return Err(DateError::Form),
    };
    let hours = digits(text, 1, 2).ok_or(DateError::Form)?;
    let minutes_at = if text.get(3) == Some(&b':') { 4 } else { 3 };
    let minutes = if text.len() == 3 { 0 } else { digits(text, minutes_at, 2).ok_or(DateError::Form)? };
    if text.len() > minutes_at + 2 || hours > 14 || minutes > 59 {
        return Err(DateError::Form);
    }
    Ok(i16::try_from(hours * 60 + minutes).ok().map(|minutes| sign * minutes))
}

/// HL7 `TS`/`DTM` and CDA `TS`: `YYYY[MM[DD[HHMM[SS[.S…]]]]][±ZZZZ]` (HL7 v2.9 §2A.3.22). Empty text is no time.
pub(crate) fn hl7_time(text: &str) -> Result<Option<When>, DateError> {
    let text = text.trim().as_bytes();
    if text.is_empty() {
        return Ok(None);
    }
    let end = text.iter().position(|byte| matches!(byte, b'+' | b'-' | b'Z')).unwrap_or(text.len());
    let (stamp, zone) = text.split_at(end);
    let whole = stamp.iter().position(|byte| *byte == b'.').unwrap_or(stamp.len());
    let fraction = stamp.get(whole + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) || (whole < stamp.len() && (whole != 14 || fraction.is_empty())) {
        return Err(DateError::Form);
    }
    let offset_minutes = offset(zone)?;
    let part = |from, count| digits(stamp, from, count).ok_or(DateError::Form);
    let year = part(0, 4)?;
    let mut when = match whole {
        4 => moment(year, None, None)?,
        6 => moment(year, Some(part(4, 2)?), None)?,
        // An hour alone is no time of day.
        8 | 10 => moment(year, Some(part(4, 2)?), Some(part(6, 2)?))?,
        12 | 14 => {
            let day = moment(year, Some(part(4, 2)?), Some(part(6, 2)?))?;
            let second = if whole == 14 { part(12, 2)? } else { 0 };
            When { second: clock(part(8, 2)?, part(10, 2)?, second)?, precision: Precision::Second, ..day }
        }
        _ => return Err(DateError::Form),
    };
    if whole == 10 {
        clock(part(8, 2)?, 0, 0)?;
    }
    if when.precision == Precision::Second {
        when.offset_minutes = offset_minutes;
    }
    Ok(Some(when))
}

/// ISO 8601 and what Apple writes: `YYYY-MM-DD[( |T)hh:mm:ss[.s…][ ][±hh[:]mm|Z]]`, or a partial date; exports of iOS 8
/// have `YYYYMMDDhhmmss±zzzz`. Empty text is no time.
pub(crate) fn dashed_time(text: &str) -> Result<Option<When>, DateError> {
    let text = text.trim();
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() < 10 || bytes[4] != b'-' {
        return if bytes.contains(&b'-') && bytes.len() < 10 {
            Ok(Some(PartialDate::parse(text)?.into()))
        } else {
            hl7_time(text)
        };
    }
    let part = |from, count| digits(bytes, from, count).ok_or(DateError::Form);
    if bytes[7] != b'-' {
        return Err(DateError::Form);
    }
    let day = moment(part(0, 4)?, Some(part(5, 2)?), Some(part(8, 2)?))?;
    if bytes.len() == 10 {
        return Ok(Some(day));
    }
    let separated = matches!(bytes[10], b' ' | b'T') && bytes.get(13) == Some(&b':') && bytes.get(16) == Some(&b':');
    if !separated {
        return Err(DateError::Form);
    }
    let second = clock(part(11, 2)?, part(14, 2)?, part(17, 2)?)?;
    let mut rest = &bytes[19..];
    if rest.first() == Some(&b'.') {
        let end = rest[1..].iter().position(|byte| !byte.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
        rest = &rest[end..];
    }
    let offset_minutes = offset(rest.trim_ascii_start())?;
    Ok(Some(When { second, offset_minutes, precision: Precision::Second, ..day }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(when: Result<Option<When>, DateError>) -> String {
        match when {
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
            Ok(Some(when)) => {
                format!("{} {} {:?} {}", when.calendar_day(), when.second, when.offset_minutes, when.precision.as_str())
            }
        }
    }

    #[test]
    fn hl7_times_keep_what_is_stated() {
        for (text, expected) in [
            ("", "none"),
            ("2013", "2013-01-01 0 None year"),
            ("201308", "2013-08-01 0 None month"),
            ("20130815", "2013-08-15 0 None day"),
            ("2013081510", "2013-08-15 0 None day"),
            ("201308151030-0800", "2013-08-15 37800 Some(-480) second"),
            ("20130815103015.1234+0200", "2013-08-15 37815 Some(120) second"),
            ("20130229", "no such day in the calendar"),
            ("00000000", "no such day in the calendar"),
            ("201308152530", "no such day in the calendar"),
            ("DOB", "not a date of the form YYYY-MM-DD"),
            ("February 2 2024", "not a date of the form YYYY-MM-DD"),
            ("2013-08-15", "not a date of the form YYYY-MM-DD"),
            ("20130815103015.", "not a date of the form YYYY-MM-DD"),
        ] {
            assert_eq!(shown(hl7_time(text)), expected, "{text}");
        }
    }

    #[test]
    fn dashed_times_keep_what_is_stated() {
        for (text, expected) in [
            ("2017-03-30 09:29:59 +0200", "2017-03-30 34199 Some(120) second"),
            ("20150616071916-0700", "2015-06-16 26356 Some(-420) second"),
            ("2021-05-14T10:35:00Z", "2021-05-14 38100 Some(0) second"),
            ("2021-05-14T10:35:00.123+02:00", "2021-05-14 38100 Some(120) second"),
            ("2021-05-14", "2021-05-14 0 None day"),
            ("2021-05", "2021-05-01 0 None month"),
            ("2021", "2021-01-01 0 None year"),
            ("2021-02-30 00:00:00 +0000", "no such day in the calendar"),
            ("2021-02-20 00:00", "not a date of the form YYYY-MM-DD"),
            ("yesterday at noon", "not a date of the form YYYY-MM-DD"),
        ] {
            assert_eq!(shown(dashed_time(text)), expected, "{text}");
        }
    }
}
