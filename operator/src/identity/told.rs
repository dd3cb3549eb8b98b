//! Which refusals were logged already, so that a hostile pod cannot fill the log. Pure: the time is an argument.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// For how long a refusal is not logged again.
const WINDOW: Duration = Duration::from_secs(60);
/// Refusals that are remembered; what comes beyond is not logged until the window ends.
const MAX: usize = 4096;

/// Refusals of the present window.
#[derive(Default)]
pub struct Told {
    since: Option<Instant>,
    refusals: HashSet<(IpAddr, &'static str)>,
}

impl Told {
    /// Whether this refusal of this source is news.
    pub fn is_news(&mut self, source: IpAddr, reason: &'static str, now: Instant) -> bool {
        let over = |since: Instant| now.saturating_duration_since(since) >= WINDOW;
        if self.since.is_none_or(over) {
            self.since = Some(now);
            self.refusals.clear();
        }
        self.refusals.len() < MAX && self.refusals.insert((source, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_once_a_minute() {
        let mut told = Told::default();
        let (source, start) = (IpAddr::from([10, 0, 0, 1]), Instant::now());
        let news = (0..1000)
            .filter(|_| told.is_news(source, "token", start))
            .count();
        assert_eq!(news, 1);
        assert!(told.is_news(source, "wrong_uid", start));
        assert!(told.is_news(source, "token", start + WINDOW));
    }
}
