//! What DEFLATE is made of (RFC 1951, section 3.2.5): literals, lengths and distances, each as one token.

/// A literal, a length or a distance: the symbol in the low nine bits, the value of its extra bits above.
///
/// Literals and lengths have the symbols 0 to 285 of their alphabet; distances follow at 286. So one table of codes
/// serves all, and writing a token asks nothing.
pub(super) type Token = u32;

pub(super) const SYMBOL_BITS: u32 = 9;
pub(super) const SYMBOLS: usize = 1 << SYMBOL_BITS;
pub(super) const SYMBOL_MASK: u32 = SYMBOLS as u32 - 1;
pub(super) const END_OF_BLOCK: Token = 256;
pub(super) const LITERAL_LENGTH_SYMBOLS: usize = 286;
pub(super) const DISTANCE_SYMBOLS: usize = 30;
pub(super) const MATCH_BYTES_MAX: usize = 258;
pub(super) const WINDOW_BYTES: u32 = 32 << 10;

const LENGTHS: usize = 29;
const LENGTH_BASE: [u32; LENGTHS] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA: [u8; LENGTHS] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// The token of each length from 3 to 258.
static LENGTH_TOKENS: [Token; 256] = {
    let mut tokens = [0; 256];
    let mut index = 0;
    while index < 256 {
        let length = index as u32 + 3;
        let mut symbol = LENGTHS - 1;
        while LENGTH_BASE[symbol] > length {
            symbol -= 1;
        }
        tokens[index] = (257 + symbol as u32) | ((length - LENGTH_BASE[symbol]) << SYMBOL_BITS);
        index += 1;
    }
    tokens
};

/// How many extra bits follow each symbol.
pub(super) static EXTRA_BITS: [u8; SYMBOLS] = {
    let mut bits = [0; SYMBOLS];
    let mut symbol = 0;
    while symbol < LENGTHS {
        bits[257 + symbol] = LENGTH_EXTRA[symbol];
        symbol += 1;
    }
    symbol = 4;
    while symbol < DISTANCE_SYMBOLS {
        bits[LITERAL_LENGTH_SYMBOLS + symbol] = (symbol as u8 - 2) / 2;
        symbol += 1;
    }
    bits
};

/// The token of a match's length, from 3 to 258.
#[inline(always)]
pub(super) fn length_token(length: usize) -> Token {
    LENGTH_TOKENS[(length - 3) & 255]
}

/// The token of a match's distance, from 1 to 32,768.
///
/// From 5 on, a symbol stands for the highest bit and the one below it of the distance less one; the bits below
/// those are the extra bits.
#[inline(always)]
pub(super) fn distance_token(distance: u32) -> Token {
    let less_one = distance - 1;
    if less_one < 4 {
        return LITERAL_LENGTH_SYMBOLS as u32 + less_one;
    }
    let extra_bits = 30 - less_one.leading_zeros();
    let symbol = 2 * extra_bits + (less_one >> extra_bits);
    let extra = less_one & ((1 << extra_bits) - 1);
    (LITERAL_LENGTH_SYMBOLS as u32 + symbol) | (extra << SYMBOL_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_its_base_and_its_extra_bits() {
        for length in 3..=MATCH_BYTES_MAX {
            let token = length_token(length);
            let symbol = (token & SYMBOL_MASK) as usize - 257;
            let extra = token >> SYMBOL_BITS;
            assert_eq!(LENGTH_BASE[symbol] + extra, length as u32);
            assert!(extra < 1 << LENGTH_EXTRA[symbol]);
        }
    }

    #[test]
    fn every_distance_is_in_the_range_of_its_symbol() {
        // The bases as RFC 1951 lists them.
        let bases = [
            1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
            4097, 6145, 8193, 12289, 16385, 24577,
        ];
        for distance in 1..=WINDOW_BYTES {
            let token = distance_token(distance);
            let symbol = (token & SYMBOL_MASK) as usize;
            let extra = token >> SYMBOL_BITS;
            assert_eq!(bases[symbol - LITERAL_LENGTH_SYMBOLS] + extra, distance);
            assert!(extra < 1 << EXTRA_BITS[symbol]);
        }
    }
}
