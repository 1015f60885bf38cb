//! How long it takes to guess a valid signed serial, in words.

/// The chance of one guess, and how long guessing takes at so many requests a minute.
pub(super) fn in_words(bits: usize, per_minute: u32) -> String {
    // Signed serials have 20 to 80 bits.
    let all = 1_u128 << bits.min(127);
    let minutes = all / 2 / u128::from(per_minute.max(1));
    let long = match minutes {
        0..120 => format!("{minutes} minutes"),
        120..4_320 => format!("{} hours", minutes / 60),
        4_320..1_051_200 => format!("{} days", minutes / 1_440),
        _ => format!("{} years", grouped(minutes / 525_600)),
    };
    format!(
        "one guess in {} is right (1 in 2^{bits}); at {per_minute} guesses a minute with one access code that takes {long} on average",
        grouped(all)
    )
}

/// `1048576` as `1,048,576`.
pub(super) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_its_unit() {
        assert_eq!(
            in_words(40, 1200),
            "one guess in 1,099,511,627,776 is right (1 in 2^40); at 1200 guesses a minute with one access code that takes 871 years on average"
        );
        for (bits, rate, long) in [(20, 60_000, "8 minutes"), (20, 1200, "7 hours"), (25, 1200, "9 days"), (80, 1, "years")] {
            assert!(in_words(bits, rate).contains(long), "{bits}: {}", in_words(bits, rate));
        }
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
