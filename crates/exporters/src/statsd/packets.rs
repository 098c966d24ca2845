//! Lines in packets of bounded size.

/// What stands after the last line of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing: the datagram ends there.
    None,
    /// A line feed: the stream goes on.
    LineFeed,
}

/// Fills packets, one after another.
#[derive(Debug)]
pub(super) struct Packets {
    size_bytes_max: usize,
    ending: Ending,
    done: Vec<(Vec<u8>, u64)>,
    open: Vec<u8>,
    items: u64,
}

impl Packets {
    pub(super) fn new(size_bytes_max: usize, ending: Ending) -> Self {
        Packets { size_bytes_max, ending, done: Vec::new(), open: Vec::new(), items: 0 }
    }

    /// Adds the lines of one data point, in groups that stay together, or none of them where one is too long for a
    /// packet: then it gives the length. A data point counts with the packet of its last line.
    pub(super) fn add(&mut self, groups: &[String]) -> Result<(), usize> {
        let ending = usize::from(self.ending == Ending::LineFeed);
        if let Some(long) = groups.iter().find(|group| group.len() + ending > self.size_bytes_max) {
            return Err(long.len());
        }
        for group in groups {
            if !self.open.is_empty() && self.open.len() + 1 + group.len() + ending > self.size_bytes_max {
                self.close();
            }
            if !self.open.is_empty() {
                self.open.push(b'\n');
            }
            self.open.extend_from_slice(group.as_bytes());
        }
        self.items += 1;
        Ok(())
    }

    fn close(&mut self) {
        let mut body = std::mem::take(&mut self.open);
        if self.ending == Ending::LineFeed {
            body.push(b'\n');
        }
        self.done.push((body, std::mem::take(&mut self.items)));
    }

    /// The packets with the data points in each. Where no data point has a line there is one without content.
    pub(super) fn finish(mut self) -> Vec<(Vec<u8>, u64)> {
        if !self.open.is_empty() {
            self.close();
        }
        if self.items > 0 {
            match self.done.last_mut() {
                Some((_, items)) => *items += self.items,
                None => self.done.push((Vec::new(), self.items)),
            }
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size_bytes_max: usize, points: &[&[&str]], expected: &[(&str, u64)]) {
        let mut packets = Packets::new(size_bytes_max, Ending::None);
        for groups in points {
            let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            packets.add(&groups).unwrap();
        }
        let packets = packets.finish();
        let found: Vec<(&str, u64)> =
            packets.iter().map(|(body, items)| (std::str::from_utf8(body).unwrap(), *items)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_packet_holds_what_fits_and_groups_stay_together() {
        check(7, &[&["a:1"], &["b:1"], &["c:1"]], &[("a:1\nb:1", 2), ("c:1", 1)]);
        check(10, &[&["a:1"], &["b:1\nb:2"], &["c:1"]], &[("a:1", 1), ("b:1\nb:2", 1), ("c:1", 1)]);
        check(7, &[&["a:1", "a:2", "a:3"], &[]], &[("a:1\na:2", 0), ("a:3", 2)]);
        check(7, &[&[], &[]], &[("", 2)]);
        check(7, &[], &[]);
    }

    #[test]
    fn a_line_that_fits_no_packet_leaves_its_point_out() {
        let mut packets = Packets::new(4, Ending::LineFeed);
        assert_eq!(packets.add(&["a:1".to_owned(), "b:12".to_owned()]), Err(4));
        packets.add(&["a:1".to_owned()]).unwrap();
        assert_eq!(packets.finish(), [(b"a:1\n".to_vec(), 1)]);
    }
}
