//! Huffman codes: how long the code of each symbol is, and what the codes are (RFC 1951, section 3.2.2).

/// More symbols than any alphabet here has.
const SYMBOLS_MAX: usize = 286;
/// Longer than any code before it is limited: a depth grows by one only when the total of frequencies grows by half.
const DEPTHS: usize = 48;

/// Code lengths of at most `length_max` that make the symbols of these frequencies nearly as short as possible. Symbols
/// that do not occur get none. The lengths of two or more symbols always fill the code space exactly.
pub(super) fn code_lengths(frequencies: &[u32], length_max: usize, lengths: &mut [u8]) {
    lengths.fill(0);
    let mut sorted = [0_u64; SYMBOLS_MAX];
    let mut used = 0;
    for (symbol, frequency) in frequencies.iter().enumerate() {
        if *frequency > 0 {
            sorted[used] = (u64::from(*frequency) << 16) | symbol as u64;
            used += 1;
        }
    }
    let sorted = &mut sorted[..used];
    sorted.sort_unstable();
    if let [only] = sorted {
        lengths[symbol(*only)] = 1;
        return;
    }
    let mut counts = counts_by_depth(sorted);
    limit_depth(&mut counts, length_max);
    // The rarest symbols get the longest codes.
    let mut rest = sorted.iter();
    for depth in (1..=length_max).rev() {
        for entry in rest.by_ref().take(counts[depth] as usize) {
            lengths[symbol(*entry)] = depth as u8;
        }
    }
}

fn symbol(entry: u64) -> usize {
    (entry & 0xffff) as usize
}

/// How many leaves of the optimal tree are at each depth: the algorithm of Moffat and Katajainen ("In-place calculation
/// of minimum-redundancy codes", 1995), which needs no tree.
fn counts_by_depth(sorted: &[u64]) -> [u32; DEPTHS] {
    let mut counts = [0; DEPTHS];
    let leaves = sorted.len();
    if leaves < 2 {
        return counts;
    }
    // First the weight of each node, then the index of its parent, then its depth.
    let mut nodes = [0_u32; SYMBOLS_MAX];
    for (node, entry) in nodes.iter_mut().zip(sorted) {
        *node = (entry >> 16) as u32;
    }
    let (mut leaf, mut root) = (0, 0);
    for next in 0..leaves - 1 {
        let mut weight = 0_u32;
        for _ in 0..2 {
            if leaf >= leaves || (root < next && nodes[root] < nodes[leaf]) {
                weight = weight.saturating_add(nodes[root]);
                nodes[root] = next as u32;
                root += 1;
            } else {
                weight = weight.saturating_add(nodes[leaf]);
                leaf += 1;
            }
        }
        nodes[next] = weight;
    }
    nodes[leaves - 2] = 0;
    for node in (0..leaves - 2).rev() {
        nodes[node] = nodes[nodes[node] as usize] + 1;
    }
    let mut inner = nodes[..leaves - 1].iter().rev().peekable();
    let (mut available, mut depth) = (1_u32, 0);
    while available > 0 {
        let mut inner_here = 0;
        while inner.next_if(|node| **node as usize == depth).is_some() {
            inner_here += 1;
        }
        counts[depth.min(DEPTHS - 1)] += available - inner_here;
        available = 2 * inner_here;
        depth += 1;
    }
    counts
}

/// Moves leaves that are too deep up to `depth_max`, and others down until all fit.
fn limit_depth(counts: &mut [u32; DEPTHS], depth_max: usize) {
    let too_deep: u32 = counts[depth_max + 1..].iter().sum();
    counts[depth_max + 1..].fill(0);
    counts[depth_max] += too_deep;
    // How much of the code space is taken, in units of the longest code.
    let mut taken: u64 = (1..=depth_max).map(|depth| u64::from(counts[depth]) << (depth_max - depth)).sum();
    while taken > 1 << depth_max {
        // One leaf becomes the parent of itself and of one of the deepest: that frees one unit.
        let Some(depth) = (1..depth_max).rev().find(|depth| counts[*depth] > 0) else { return };
        counts[depth] -= 1;
        counts[depth + 1] += 2;
        counts[depth_max] -= 1;
        taken -= 1;
    }
}

/// The canonical codes of these lengths, in the order of bits in which they are written.
pub(super) fn codes(lengths: &[u8], codes: &mut [u16]) {
    let mut counts = [0_u32; 16];
    for length in lengths {
        counts[usize::from(*length & 15)] += 1;
    }
    counts[0] = 0;
    let mut next = [0_u32; 16];
    for length in 1..16 {
        next[length] = (next[length - 1] + counts[length - 1]) << 1;
    }
    for (code, length) in codes.iter_mut().zip(lengths) {
        *code = 0;
        if *length > 0 {
            let value = &mut next[usize::from(*length & 15)];
            *code = (value.reverse_bits() >> (32 - u32::from(*length))) as u16;
            *value += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(frequencies: &[u32], length_max: usize) -> Vec<u8> {
        let mut lengths = vec![0; frequencies.len()];
        code_lengths(frequencies, length_max, &mut lengths);
        lengths
    }

    /// The share of the code space that lengths take, as a multiple of 2^-15.
    fn taken(lengths: &[u8]) -> u32 {
        lengths.iter().filter(|length| **length > 0).map(|length| 1 << (15 - length)).sum()
    }

    #[test]
    fn frequent_symbols_have_short_codes() {
        assert_eq!(lengths(&[1, 1, 2, 4, 0, 8], 15), [4, 4, 3, 2, 0, 1]);
        assert_eq!(lengths(&[5, 5, 5, 5], 15), [2, 2, 2, 2]);
        assert_eq!(lengths(&[7, 0, 1], 15), [1, 0, 1]);
    }

    #[test]
    fn none_or_one_symbol_is_no_tree() {
        assert_eq!(lengths(&[0, 0, 0], 15), [0, 0, 0]);
        assert_eq!(lengths(&[0, 9, 0], 15), [0, 1, 0]);
    }

    #[test]
    fn limited_lengths_fill_the_code_space_exactly() {
        // Frequencies of Fibonacci make the deepest of all trees.
        let mut fibonacci = vec![1_u32, 1];
        while fibonacci.len() < 40 {
            fibonacci.push(fibonacci[fibonacci.len() - 1] + fibonacci[fibonacci.len() - 2]);
        }
        let mut rng = fastrand::Rng::with_seed(5);
        for length_max in [7, 9, 13, 15] {
            for _ in 0..300 {
                let count = rng.usize(2..=if length_max == 7 { 19 } else { 286 });
                let skew = rng.u32(1..30);
                let random: Vec<u32> = (0..count).map(|_| rng.u32(..) >> rng.u32(..=skew) >> 1).collect();
                for frequencies in [&random, &fibonacci[..count.min(40)].to_vec()] {
                    let lengths = lengths(frequencies, length_max);
                    let used = frequencies.iter().filter(|frequency| **frequency > 0).count();
                    assert!(lengths.iter().all(|length| usize::from(*length) <= length_max));
                    assert_eq!(lengths.iter().filter(|length| **length > 0).count(), used);
                    assert!(used < 2 || taken(&lengths) == 1 << 15, "{frequencies:?} {lengths:?}");
                }
            }
        }
    }

    #[test]
    fn the_codes_of_the_specifications_example() {
        // RFC 1951, section 3.2.2: lengths (3, 3, 3, 3, 3, 2, 4, 4) of A to H.
        let mut found = [0; 8];
        codes(&[3, 3, 3, 3, 3, 2, 4, 4], &mut found);
        let expected = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        let lengths = [3, 3, 3, 3, 3, 2, 4, 4];
        let written: Vec<u16> = expected
            .iter()
            .zip(lengths)
            .map(|(code, length): (&u16, u32)| code.reverse_bits() >> (16 - length))
            .collect();
        assert_eq!(found, written.as_slice());
    }
}
