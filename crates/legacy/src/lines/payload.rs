//! Lines as payloads of bounded size.

/// Lines that go together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The lines, each with its end.
    pub body: Vec<u8>,
    /// The data points in it.
    pub items: u32,
    /// The lines in it.
    pub lines: usize,
}

/// The bounds of a payload. The lines of one data point stay together, even where they alone are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Lines.
    pub lines_max: usize,
    /// Bytes.
    pub size_bytes_max: usize,
}

/// Cuts lines into payloads, between data points.
#[derive(Debug)]
pub struct Payloads {
    limits: PayloadLimits,
    done: Vec<Payload>,
    open: Payload,
}

impl Payloads {
    /// None yet.
    pub fn new(limits: PayloadLimits) -> Self {
        Payloads { limits, done: Vec::new(), open: Payload::default() }
    }

    /// Adds the lines of one data point.
    pub fn add(&mut self, body: &[u8], lines: usize) {
        let too_many = self.open.lines + lines > self.limits.lines_max;
        let too_large = self.open.body.len() + body.len() > self.limits.size_bytes_max;
        if self.open.items > 0 && (too_many || too_large) {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open.body.extend_from_slice(body);
        self.open.lines += lines;
        self.open.items += 1;
    }

    /// All of them, none of which is empty.
    pub fn finish(mut self) -> Vec<Payload> {
        if self.open.items > 0 {
            self.done.push(self.open);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limits: PayloadLimits, points: &[&str], expected: &[&str]) {
        let mut payloads = Payloads::new(limits);
        for point in points {
            payloads.add(point.as_bytes(), point.lines().count());
        }
        let payloads = payloads.finish();
        let bodies: Vec<&str> =
            payloads.iter().map(|payload| std::str::from_utf8(&payload.body).expect("text")).collect();
        assert_eq!(bodies, expected);
        assert_eq!(payloads.iter().map(|payload| payload.items as usize).sum::<usize>(), points.len());
    }

    #[test]
    fn payloads_are_cut_by_lines_and_by_bytes_and_never_inside_a_point() {
        let none = PayloadLimits { lines_max: usize::MAX, size_bytes_max: usize::MAX };
        check(none, &["a\n", "b\n"], &["a\nb\n"]);
        check(PayloadLimits { lines_max: 2, ..none }, &["a\n", "b\nc\n", "d\n"], &["a\n", "b\nc\n", "d\n"]);
        check(PayloadLimits { size_bytes_max: 5, ..none }, &["aa\n", "b\n", "c\n"], &["aa\nb\n", "c\n"]);
        check(PayloadLimits { lines_max: 1, size_bytes_max: 1 }, &["a\nb\nc\n", "d\n"], &["a\nb\nc\n", "d\n"]);
        check(none, &[], &[]);
    }
}
