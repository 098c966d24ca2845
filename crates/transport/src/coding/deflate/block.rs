//! Blocks of DEFLATE (RFC 1951, section 3.2.3): stored, with fixed codes, or with codes of their own, whichever is the
//! smallest.

use super::huffman::{code_lengths, codes};
use super::tokens::{
    DISTANCE_SYMBOLS, END_OF_BLOCK, EXTRA_BITS, LITERAL_LENGTH_SYMBOLS, SYMBOL_BITS, SYMBOL_MASK, SYMBOLS, Token,
};

/// With codes of at most 13 bits, any two tokens and their extra bits fit into the bit buffer at once.
const CODE_BITS_MAX: usize = 13;
const STORED_BYTES_MAX: usize = u16::MAX as usize;
const ALPHABETS: usize = LITERAL_LENGTH_SYMBOLS + DISTANCE_SYMBOLS;

/// Whether another block follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Inner,
    Last,
}

/// Bits written into a buffer, the lowest first.
pub(super) struct BitWriter<'a> {
    out: &'a mut [u8],
    written: usize,
    pending: u64,
    pending_bits: u32,
}

/// The code of each symbol, with its extra bits: the code itself in the low 16 bits, its length in the next 8, and the
/// length together with the extra bits in the highest 8.
type CodeTable = [u32; SYMBOLS];

impl<'a> BitWriter<'a> {
    /// Writes behind the first `written` bytes of `out`.
    pub(super) fn new(out: &'a mut [u8], written: usize) -> BitWriter<'a> {
        BitWriter { out, written, pending: 0, pending_bits: 0 }
    }

    /// Adds bits; at most 56 between two flushes.
    #[inline(always)]
    fn add(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.pending_bits;
        self.pending_bits += count;
    }

    /// Writes whole bytes; fewer than eight bits stay.
    #[inline(always)]
    fn flush(&mut self) {
        self.out[self.written..self.written + 8].copy_from_slice(&self.pending.to_le_bytes());
        self.written += (self.pending_bits >> 3) as usize;
        self.pending >>= self.pending_bits & !7;
        self.pending_bits &= 7;
    }

    /// Fills the last byte with zeros, and says how many bytes there are.
    pub(super) fn align(&mut self) -> usize {
        self.flush();
        if self.pending_bits > 0 {
            self.written += 1;
            self.pending = 0;
            self.pending_bits = 0;
        }
        self.written
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.written..self.written + bytes.len()].copy_from_slice(bytes);
        self.written += bytes.len();
    }
}

/// Writes the tokens, which stand for `data`, as one block.
pub(super) fn write_block(writer: &mut BitWriter<'_>, tokens: &[Token], data: &[u8], position: Position) {
    let frequencies = frequencies(tokens);
    let own = OwnCodes::new(&frequencies);
    let own_bits = own.header_bits() + token_bits(&frequencies, own.literals(), own.distances());
    let fixed_bits = token_bits(&frequencies, &FIXED_LITERAL_LENGTHS, &FIXED_DISTANCE_LENGTHS);
    let stored_bits = 8 * data.len() as u64 + 40 * (data.len() / STORED_BYTES_MAX + 1) as u64;
    let last = u64::from(position == Position::Last);
    if stored_bits <= own_bits.min(fixed_bits) {
        return write_stored(writer, data, position);
    }
    let table = if fixed_bits <= own_bits {
        writer.add(last | 1 << 1, 3);
        code_table(&FIXED_LITERAL_LENGTHS, &FIXED_DISTANCE_LENGTHS)
    } else {
        writer.add(last | 2 << 1, 3);
        own.write_header(writer);
        code_table(own.literals(), own.distances())
    };
    write_tokens(writer, tokens, &table);
}

/// How often each symbol occurs, the end of the block included.
fn frequencies(tokens: &[Token]) -> [u32; SYMBOLS] {
    // Two tables, since a counter that was just written cannot be read again at once.
    let mut counts = [[0_u32; SYMBOLS]; 2];
    let (pairs, rest) = tokens.as_chunks::<2>();
    for [one, other] in pairs {
        counts[0][(one & SYMBOL_MASK) as usize] += 1;
        counts[1][(other & SYMBOL_MASK) as usize] += 1;
    }
    for token in rest {
        counts[0][(token & SYMBOL_MASK) as usize] += 1;
    }
    let [mut sums, others] = counts;
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
    sums[END_OF_BLOCK as usize] = 1;
    sums
}

fn token_bits(frequencies: &[u32; SYMBOLS], literal_lengths: &[u8], distance_lengths: &[u8]) -> u64 {
    let lengths = literal_lengths.iter().take(LITERAL_LENGTH_SYMBOLS).chain(distance_lengths);
    let each = frequencies.iter().zip(lengths).zip(&EXTRA_BITS);
    each.map(|((count, length), extra)| u64::from(*count) * u64::from(length + extra)).sum()
}

fn code_table(literal_lengths: &[u8], distance_lengths: &[u8]) -> CodeTable {
    let mut table = [0; SYMBOLS];
    for (first, lengths, symbols) in
        [(0, literal_lengths, LITERAL_LENGTH_SYMBOLS), (LITERAL_LENGTH_SYMBOLS, distance_lengths, DISTANCE_SYMBOLS)]
    {
        let mut all = [0_u16; FIXED_LITERAL_LENGTH_SYMBOLS];
        codes(lengths, &mut all);
        for index in 0..symbols {
            let (length, extra) = (u32::from(lengths[index]), u32::from(EXTRA_BITS[first + index]));
            table[first + index] = u32::from(all[index]) | length << 16 | (length + extra) << 24;
        }
    }
    table
}

fn write_tokens(writer: &mut BitWriter<'_>, tokens: &[Token], table: &CodeTable) {
    let add = |writer: &mut BitWriter<'_>, token: Token| {
        let code = table[(token & SYMBOL_MASK) as usize];
        let bits = u64::from(code & 0xffff) | u64::from(token >> SYMBOL_BITS) << (code >> 16 & 31);
        writer.add(bits, code >> 24);
    };
    writer.flush();
    let (pairs, rest) = tokens.as_chunks::<2>();
    for [one, other] in pairs {
        add(writer, *one);
        add(writer, *other);
        writer.flush();
    }
    for token in rest {
        add(writer, *token);
    }
    writer.flush();
    add(writer, END_OF_BLOCK);
    writer.flush();
}

fn write_stored(writer: &mut BitWriter<'_>, data: &[u8], position: Position) {
    let mut chunks = data.chunks(STORED_BYTES_MAX).peekable();
    let mut rest = if data.is_empty() { Some(data) } else { chunks.next() };
    while let Some(chunk) = rest {
        rest = chunks.next();
        let last = rest.is_none() && position == Position::Last;
        writer.add(u64::from(last), 3);
        writer.align();
        let length = chunk.len() as u16;
        writer.bytes(&length.to_le_bytes());
        writer.bytes(&(!length).to_le_bytes());
        writer.bytes(chunk);
    }
}

// === codes of a block's own ===

/// The order in which the lengths of the code length codes are sent (RFC 1951, section 3.2.7).
const LENGTH_CODE_ORDER: [usize; LENGTH_CODES] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const LENGTH_CODES: usize = 19;
const LENGTH_CODE_BITS_MAX: usize = 7;
/// How many extra bits follow the symbols 16, 17 and 18.
const REPEAT_BITS: [u32; 3] = [2, 3, 7];

/// Codes made for one block, and the form in which their lengths are sent.
struct OwnCodes {
    lengths: [u8; ALPHABETS],
    literals_sent: usize,
    distances_sent: usize,
    /// Symbol and extra bits of each code length, runs shortened.
    runs: [(u8, u8); ALPHABETS],
    runs_len: usize,
    run_lengths: [u8; LENGTH_CODES],
    run_codes_sent: usize,
}

impl OwnCodes {
    fn new(frequencies: &[u32; SYMBOLS]) -> OwnCodes {
        let mut lengths = [0; ALPHABETS];
        let (literals, distances) = lengths.split_at_mut(LITERAL_LENGTH_SYMBOLS);
        code_lengths(&frequencies[..LITERAL_LENGTH_SYMBOLS], CODE_BITS_MAX, literals);
        code_lengths(&frequencies[LITERAL_LENGTH_SYMBOLS..ALPHABETS], CODE_BITS_MAX, distances);
        // One code of each kind at least: some decoders refuse a block without.
        if literals[..END_OF_BLOCK as usize].iter().all(|length| *length == 0)
            && literals[257..].iter().all(|length| *length == 0)
        {
            literals[0] = 1;
        }
        if distances.iter().all(|length| *length == 0) {
            distances[0] = 1;
        }
        let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
        let literals_sent = used(literals).max(257);
        let distances_sent = used(distances).max(1);
        let mut own = OwnCodes {
            lengths,
            literals_sent,
            distances_sent,
            runs: [(0, 0); ALPHABETS],
            runs_len: 0,
            run_lengths: [0; LENGTH_CODES],
            run_codes_sent: 0,
        };
        own.shorten_runs();
        own
    }

    fn literals(&self) -> &[u8] {
        &self.lengths[..LITERAL_LENGTH_SYMBOLS]
    }

    fn distances(&self) -> &[u8] {
        &self.lengths[LITERAL_LENGTH_SYMBOLS..]
    }

    /// The lengths to send, with runs as symbols 16 (the previous again), 17 and 18 (zeros).
    fn shorten_runs(&mut self) {
        let mut sent = [0_u8; ALPHABETS];
        sent[..self.literals_sent].copy_from_slice(&self.lengths[..self.literals_sent]);
        let total = self.literals_sent + self.distances_sent;
        let distances = &self.lengths[LITERAL_LENGTH_SYMBOLS..LITERAL_LENGTH_SYMBOLS + self.distances_sent];
        sent[self.literals_sent..total].copy_from_slice(distances);
        for run in sent[..total].chunk_by(|one, next| one == next) {
            let mut left = run.len();
            if run[0] > 0 {
                self.push_run(run[0], 0);
                left -= 1;
            }
            while left >= 3 {
                let (symbol, least, most) = match (run[0], left) {
                    (0, 11..) => (18, 11, 138),
                    (0, _) => (17, 3, 10),
                    _ => (16, 3, 6),
                };
                let part = left.min(most);
                self.push_run(symbol, (part - least) as u8);
                left -= part;
            }
            for _ in 0..left {
                self.push_run(run[0], 0);
            }
        }
        let mut counts = [0; LENGTH_CODES];
        for (symbol, _) in &self.runs[..self.runs_len] {
            counts[usize::from(*symbol)] += 1;
        }
        code_lengths(&counts, LENGTH_CODE_BITS_MAX, &mut self.run_lengths);
        let used = LENGTH_CODE_ORDER.iter().rposition(|symbol| self.run_lengths[*symbol] > 0);
        self.run_codes_sent = used.map_or(4, |last| (last + 1).max(4));
    }

    fn push_run(&mut self, symbol: u8, extra: u8) {
        self.runs[self.runs_len] = (symbol, extra);
        self.runs_len += 1;
    }

    fn header_bits(&self) -> u64 {
        let runs = self.runs[..self.runs_len].iter();
        let run_bits = |symbol: u8| u32::from(self.run_lengths[usize::from(symbol)]) + repeat_bits(symbol);
        let bits: u32 = runs.map(|(symbol, _)| run_bits(*symbol)).sum();
        u64::from(bits) + 14 + 3 * self.run_codes_sent as u64
    }

    fn write_header(&self, writer: &mut BitWriter<'_>) {
        writer.add((self.literals_sent - 257) as u64, 5);
        writer.add((self.distances_sent - 1) as u64, 5);
        writer.add((self.run_codes_sent - 4) as u64, 4);
        for symbol in &LENGTH_CODE_ORDER[..self.run_codes_sent] {
            writer.flush();
            writer.add(u64::from(self.run_lengths[*symbol]), 3);
        }
        let mut run_codes = [0; LENGTH_CODES];
        codes(&self.run_lengths, &mut run_codes);
        for (symbol, extra) in &self.runs[..self.runs_len] {
            writer.flush();
            writer.add(u64::from(run_codes[usize::from(*symbol)]), u32::from(self.run_lengths[usize::from(*symbol)]));
            writer.add(u64::from(*extra), repeat_bits(*symbol));
        }
    }
}

fn repeat_bits(symbol: u8) -> u32 {
    symbol.checked_sub(16).map_or(0, |index| REPEAT_BITS[usize::from(index)])
}

// === fixed codes ===

/// RFC 1951, section 3.2.6. The last two symbols never occur and still have codes.
static FIXED_LITERAL_LENGTHS: [u8; FIXED_LITERAL_LENGTH_SYMBOLS] = {
    let mut lengths = [8; FIXED_LITERAL_LENGTH_SYMBOLS];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    lengths
};
const FIXED_LITERAL_LENGTH_SYMBOLS: usize = LITERAL_LENGTH_SYMBOLS + 2;
static FIXED_DISTANCE_LENGTHS: [u8; DISTANCE_SYMBOLS] = [5; DISTANCE_SYMBOLS];
