//! Checks of numbers that many constructors make.

use super::Error;

/// Accepts positive finite numbers, not NaN.
pub(crate) fn check_positive(argument: &'static str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::Domain { argument, value, accepted: "positive finite numbers" })
    }
}

/// Accepts finite numbers that are not negative, not NaN.
pub(crate) fn check_not_negative(argument: &'static str, value: f64) -> Result<(), Error> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::Domain { argument, value, accepted: "finite numbers >= 0" })
    }
}
