//! Dates from and to text.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, Utc};

const SECONDS_A_DAY: i64 = 86_400;

/// Returns the date in RFC 3339, always with six digits of a second and `Z`:
/// `2026-01-01T00:00:00.000000Z`. Digits below a microsecond are cut off.
pub fn format_date(date: DateTime<Utc>) -> String {
    date.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Why a text is no date, as a sentence for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDate {
    /// Not written in one of the accepted forms.
    #[error(
        "Datetime has wrong format. Use RFC 3339 or extended ISO 8601: \
         YYYY-MM-DD[Thh:mm[:ss[.ffffff]][Z|+hh:mm|-hh:mm]]."
    )]
    WrongFormat,
    /// Well written, but there is no such day or time of day.
    #[error("There is no such date or time of day.")]
    NoSuchTime,
    /// Outside what a `timestamptz` and RFC 3339 can both hold.
    #[error("Ensure this date lies in the years 0001 to 9999 (UTC).")]
    OutOfRange,
}

/// Reads a date in RFC 3339 or one of the extended forms of ISO 8601.
///
/// * `2026-01-01T10:30:00.5+05:30`; the separator is `T`, `t` or one space.
/// * Seconds and fraction may be missing; the fraction's sign is `.` or `,`, and its digits after the ninth
///   are cut off. A date alone is its midnight.
/// * The offset is `Z`, `z`, `+05:30`, `+0530` or `+05`, up to 23:59; without one the time is UTC.
/// * `24:00:00` is the next midnight (ISO 8601).
/// * A leap second, `23:59:60` UTC (RFC 3339, section 5.7), is the start of the second that follows, whatever
///   its fraction. It is accepted on any day: which days have one is not known in advance.
///
/// # Errors
///
/// [`InvalidDate`], whose text says what is accepted.
pub fn parse_date(text: &str) -> Result<DateTime<Utc>, InvalidDate> {
    let date =
        Written::read(text).ok_or(InvalidDate::WrongFormat)?.instant().ok_or(InvalidDate::NoSuchTime)?;
    if is_in_range(&date) { Ok(date) } else { Err(InvalidDate::OutOfRange) }
}

/// Tells whether a `timestamptz` and RFC 3339 can both hold the date.
pub(super) fn is_in_range(date: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&date.year())
}

/// Returns the date without what is below a microsecond, or `None` if it is out of range.
pub(super) fn in_whole_micros(date: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // Through the number, because it also turns chrono's own leap seconds into ordinary ones.
    DateTime::from_timestamp_micros(date.timestamp_micros()).filter(is_in_range)
}

/// The numbers of a date, as they are written and not yet checked against the calendar.
#[derive(Default)]
struct Written {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    offset: Offset,
}

#[derive(Default)]
struct Offset {
    west: bool,
    hours: u32,
    minutes: u32,
}

impl Written {
    fn read(text: &str) -> Option<Self> {
        let mut rest = Scanner(text.as_bytes());
        let mut written = Self { year: rest.digits(4)?, ..Self::default() };
        rest.one_of(b"-")?;
        written.month = rest.digits(2)?;
        rest.one_of(b"-")?;
        written.day = rest.digits(2)?;
        if rest.is_empty() {
            return Some(written);
        }
        rest.one_of(b"Tt ")?;
        written.hour = rest.digits(2)?;
        rest.one_of(b":")?;
        written.minute = rest.digits(2)?;
        if rest.one_of(b":").is_some() {
            written.second = rest.digits(2)?;
            if rest.one_of(b".,").is_some() {
                written.nanos = rest.fraction()?;
            }
        }
        written.offset = rest.offset()?;
        rest.is_empty().then_some(written)
    }

    /// Returns the point in time, or `None` if no calendar or clock shows these numbers.
    fn instant(&self) -> Option<DateTime<Utc>> {
        let is_midnight_after = self.hour == 24 && self.minute == 0 && self.second == 0 && self.nanos == 0;
        let is_leap_second = self.second == 60;
        let on_the_clock = (self.hour < 24 || is_midnight_after)
            && self.minute < 60
            && self.second <= 60
            && self.offset.hours < 24
            && self.offset.minutes < 60;
        if !on_the_clock {
            return None;
        }
        let midnight = NaiveDate::from_ymd_opt(self.year.cast_signed(), self.month, self.day)?
            .and_time(NaiveTime::MIN)
            .and_utc()
            .timestamp();
        let time = i64::from(self.hour * 3600 + self.minute * 60 + self.second);
        let seconds = midnight + time - self.offset.seconds();
        if is_leap_second {
            return if seconds % SECONDS_A_DAY == 0 { DateTime::from_timestamp(seconds, 0) } else { None };
        }
        DateTime::from_timestamp(seconds, self.nanos)
    }
}

impl Offset {
    fn seconds(&self) -> i64 {
        let east = i64::from(self.hours * 3600 + self.minutes * 60);
        if self.west { -east } else { east }
    }
}

/// The part of the text that is still to be read. ASCII digits only, hence bytes.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next byte if it is one of those accepted.
    fn one_of(&mut self, accepted: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        accepted.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    /// Takes exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, &digit| Some(number * 10 + decimal(digit)?))
    }

    /// Takes all digits that follow, at least one, as nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let nine = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        (count > 0).then(|| nine.filter_map(decimal).fold(0, |nanos, digit| nanos * 10 + digit))
    }

    /// Takes an offset from UTC; none at all is UTC.
    fn offset(&mut self) -> Option<Offset> {
        if self.is_empty() || self.one_of(b"Zz").is_some() {
            return Some(Offset::default());
        }
        let west = self.one_of(b"+-")? == b'-';
        let hours = self.digits(2)?;
        let colon = self.one_of(b":").is_some();
        let minutes = if colon || !self.is_empty() { self.digits(2)? } else { 0 };
        Some(Offset { west, hours, minutes })
    }
}

fn decimal(digit: u8) -> Option<u32> {
    digit.is_ascii_digit().then(|| u32::from(digit - b'0'))
}
