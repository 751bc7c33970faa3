//! Senders that are not known, and when they are told to wait.
//!
//! Who knows a secret is never told so: GitLab does not send an event again.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests of one address that are refused within a [`WINDOW`] before it is told to wait.
pub(super) const MOST: u32 = 60;
/// See [`MOST`].
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted singly; all others are counted together.
const ADDRESSES: usize = 1024;

/// Refused requests by address.
#[derive(Default)]
pub(super) struct Unknown(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    since: Option<Instant>,
    singly: BTreeMap<IpAddr, u32>,
    others: u32,
}

impl Unknown {
    /// Counts a request that is refused; how long its sender is to wait, where there were too many.
    pub(super) fn refused(&self, from: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match counts.since {
            Some(since) if now.duration_since(since) < WINDOW => since,
            _ => {
                *counts = Counts::default();
                *counts.since.insert(now)
            }
        };
        let is_full = counts.singly.len() >= ADDRESSES;
        let count = match from.map(network) {
            Some(from) if !is_full || counts.singly.contains_key(&from) => {
                counts.singly.entry(from).or_default()
            }
            _ => &mut counts.others,
        };
        *count = count.saturating_add(1);
        (*count > MOST).then(|| WINDOW.saturating_sub(now.duration_since(since)))
    }
}

/// What one sender has: an IPv4 address, or a network of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from(number).into())
    }

    #[test]
    fn each_sender_has_its_own_bound_and_a_new_one_each_minute() {
        let (unknown, start) = (Unknown::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..MOST {
            assert_eq!(unknown.refused(address(1), at(0)), None);
        }
        let wait = unknown.refused(address(1), at(20));
        assert_eq!(wait, Some(Duration::from_secs(40)));
        assert_eq!(unknown.refused(address(2), at(20)), None);
        assert_eq!(unknown.refused(address(1), at(60)), None);
    }

    #[test]
    fn addresses_of_one_network_are_one_sender() {
        let (unknown, now) = (Unknown::default(), Instant::now());
        let address = |end: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, end]));
        for end in 0..60 {
            assert_eq!(unknown.refused(address(end), now), None);
        }
        assert!(unknown.refused(address(60), now).is_some());
    }

    #[test]
    fn very_many_senders_share_a_count_and_take_no_more_memory() {
        let (unknown, now) = (Unknown::default(), Instant::now());
        let many = u32::try_from(ADDRESSES).unwrap() + 10 * MOST;
        let told = (0..many).filter(|number| unknown.refused(address(*number), now).is_some());
        assert_eq!(told.count(), 9 * MOST as usize);
        assert_eq!(unknown.0.lock().unwrap().singly.len(), ADDRESSES);
        assert_eq!(
            unknown.refused(address(5), now),
            None,
            "it was known before"
        );
        assert!(unknown.refused(None, now).is_some());
    }
}
