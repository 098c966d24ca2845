//! Words in halves: of what there are many, nothing is to be larger than its parts.

/// 64 bits that need no more than the alignment of 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Halves([u32; 2]);

impl Halves {
    pub(crate) const fn of(whole: u64) -> Halves {
        Halves([whole as u32, (whole >> 32) as u32])
    }

    pub(crate) const fn whole(self) -> u64 {
        self.0[0] as u64 | (self.0[1] as u64) << 32
    }
}
