//! Drift: a loss that shows before the sandwich breaks.
//!
//! The sandwich allows each side anything between two samples of the other; where events come at random, most of that
//! is far from likely. So the deficit of one side against the other's count, interpolated at the same moment, is fitted
//! with a line over the count: its slope is the share that is lost. What else moves the deficit without a loss stands
//! beside it in the fit: the width of the bracket (a skew of the clocks, or events that always come at the same point of
//! an interval, are a share of it) and where in the bracket the sample lies (phases that slide). Where the slide cannot
//! be told from a loss, the slope is known badly and nothing is said.
//!
//! The test speaks only if the slope is beyond a quarter of the margin, and beyond what clocks that wander within their
//! bound and samplers that slide past groups of events can do, by a multiple of its error that chance reaches once in a million looks. The error is the larger one of
//! two: what the residuals show, neighbours taken together, and what random events in groups as large as they seem would
//! make. And it speaks only where the residuals look like random events: as large as such events make them, and each for
//! itself. Events that are added up and handed on by a clock of their own, past which the samplers slide, leave another
//! trace, and so do most other things that are not a loss.

use crate::stats::{ln_normal_tail, ln_student_tail, normal_quantile, student_quantile};
use crate::verdict::Demand;

/// So many blocks are kept; when they are full, neighbours become one.
const BLOCKS_MAX: usize = 40;
/// Blocks of so many samples are the last ones: by then the sandwich tells what is to be told.
const BLOCK_SAMPLES_MAX: u32 = 16;
/// No test before there are so many.
const BLOCKS_MIN: usize = 20;
/// The chance of a false alarm at one look.
const FALSE_ALARM: f64 = 1e-6;
/// Of the margin, so much is left to what the fit does not know.
const SHARE_OF_MARGIN: f64 = 0.25;

/// The squares of residuals may be so large, beside what they are expected to be.
const SIZES: std::ops::Range<f64> = 0.6..1.6;

/// Terms of the fit: 1, the count, the width, and the width times the place in it.
const TERMS: usize = 4;

/// What one sample says, or the mean of several.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// What the other side has counted since the first block.
    count: f32,
    /// By how much this side trails, beside how much it did in the first block.
    deficit: f32,
    /// How many events the bracket holds.
    width: f32,
    /// The same, times where in it the sample lies.
    place: f32,
    /// What random single events would make of its variance.
    variance: f32,
}

/// A line through the deficit of one epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drift {
    blocks: Vec<Block>,
    open: Block,
    open_samples: u32,
    /// Samples in a block.
    block_samples: u32,
    first: Option<First>,
    /// Where the last bracket began.
    pub(crate) bracket_unix_ns: u64,
    last_unix_ns: u64,
    last_width: f64,
    /// The least that was counted in a bracket, but for nothing: events do not come in larger groups than that all the time.
    width_min: f64,
    /// Squares of differences between neighbouring widths, and widths.
    squares: f64,
    widths: f64,
}

#[derive(Clone, Copy, Debug)]
struct First {
    time_unix_ns: u64,
    count: f64,
    deficit: f64,
}

/// A sample and the bracket that it lies in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bracketed {
    pub(crate) time_unix_ns: u64,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Where in the bracket the sample lies: 0 to 1.
    pub(crate) place: f64,
}

impl Drift {
    pub(crate) fn add(&mut self, sample: Bracketed) {
        if self.is_over() {
            return;
        }
        let width = sample.high - sample.low;
        if width > 0.0 {
            self.width_min = if self.width_min > 0.0 { self.width_min.min(width) } else { width };
        }
        let count = sample.low + width * sample.place;
        let deficit = count - sample.value;
        let first = *self.first.get_or_insert(First { time_unix_ns: sample.time_unix_ns, count, deficit });
        if self.last_unix_ns != 0 {
            self.squares += (width - self.last_width).powi(2) / 2.0;
            self.widths += width;
        }
        (self.last_unix_ns, self.last_width) = (sample.time_unix_ns, width);
        let open = &mut self.open;
        open.count += (count - first.count) as f32;
        open.deficit += (deficit - first.deficit) as f32;
        open.width += width as f32;
        open.place += (width * sample.place) as f32;
        open.variance += (width * sample.place * (1.0 - sample.place)) as f32;
        self.open_samples += 1;
        if self.open_samples >= self.block_samples.max(1) {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let samples = self.open_samples as f32;
        let Block { count, deficit, width, place, variance } = std::mem::take(&mut self.open);
        self.open_samples = 0;
        let [count, deficit, width, place] = [count, deficit, width, place].map(|sum| sum / samples);
        // Grown by hand: a series has no bytes to spare.
        if self.blocks.len() == self.blocks.capacity() {
            self.blocks.reserve_exact(8);
        }
        self.blocks.push(Block { count, deficit, width, place, variance: variance / samples.powi(2) });
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks = self.blocks.chunks(2).map(Block::mean).collect();
            self.block_samples = self.block_samples.max(1) * 2;
            if self.is_over() {
                self.blocks = Vec::new();
            }
        }
    }

    /// Whether it was followed for so long that the sandwich tells what is to be told.
    pub(crate) fn is_over(&self) -> bool {
        self.block_samples > BLOCK_SAMPLES_MAX
    }

    /// The share that is lost, negative where the other side loses, if it is beyond doubt that it is not nothing.
    pub(crate) fn loss(&self, demand: &Demand) -> Option<f64> {
        let (slope, allowed, errors) = self.slope(demand)?;
        (slope.abs() - allowed > errors.at(FALSE_ALARM)).then_some(slope)
    }

    /// The logarithm of the chance that the slope comes to what it is where nothing is lost, if it says anything.
    pub(crate) fn ln_chance(&self, demand: &Demand) -> Option<f64> {
        let (slope, allowed, errors) = self.slope(demand)?;
        let beyond = slope.abs() - allowed;
        let of_residuals = ln_student_tail(beyond / errors.of_residuals, errors.freedom);
        Some(of_residuals.max(ln_normal_tail(beyond / errors.of_model)))
    }

    /// So many samples there are, and no more once the trend is not followed any longer.
    pub(crate) fn samples(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX) * self.block_samples.max(1)
    }

    /// The slope, how much of it is allowed, and its errors.
    fn slope(&self, demand: &Demand) -> Option<(f64, f64, Errors)> {
        if self.blocks.len() < BLOCKS_MIN {
            return None;
        }
        let first = self.first?;
        let seconds = self.last_unix_ns.saturating_sub(first.time_unix_ns) as f64;
        let (slope, errors) = self.fit()?;
        let of_skew = 2.0 * demand.skew_ns as f64 / seconds.max(1.0);
        // A sampler that slides past the moments at which groups come moves by one of them.
        let of_group = self.width_min / f64::from(self.blocks.last()?.count).max(1.0);
        let allowed = of_skew.max(SHARE_OF_MARGIN * demand.margin_ratio).max(of_group);
        Some((slope, allowed, errors))
    }

    /// The slope over the count, and its two errors.
    fn fit(&self) -> Option<(f64, Errors)> {
        let groups = if self.widths > 0.0 { (self.squares / self.widths).max(1.0) } else { 1.0 };
        // A count moves in steps of one: no sample is better than that.
        let variance = |block: &Block| (groups * f64::from(block.variance)).max(1.0 / 12.0);
        let rows: Vec<([f64; TERMS], f64, f64)> = self
            .blocks
            .iter()
            .map(|block| {
                let terms = [1.0, block.count.into(), block.width.into(), block.place.into()];
                (terms, f64::from(block.deficit), variance(block))
            })
            .collect();
        let mut matrix = [[0.0; TERMS]; TERMS];
        let mut right = [0.0; TERMS];
        for (terms, deficit, variance) in &rows {
            for row in 0..TERMS {
                right[row] += terms[row] * deficit / variance;
                for column in 0..TERMS {
                    matrix[row][column] += terms[row] * terms[column] / variance;
                }
            }
        }
        // What does not vary stands still instead of making the rest unknowable.
        for (at, row) in matrix.iter_mut().enumerate() {
            row[at] *= 1.0 + 1e-7;
        }
        let inverse = invert(matrix)?;
        let solution: [f64; TERMS] = std::array::from_fn(|row| dot(&inverse[row], &right));
        let are_random = are_random(
            rows.iter().map(|(terms, deficit, variance)| (deficit - dot(&solution, terms)) / variance.sqrt()),
        );
        if !are_random {
            return None;
        }
        // What each row adds to the error of the slope.
        let influences: Vec<f64> = rows
            .iter()
            .map(|(terms, deficit, variance)| dot(&inverse[1], terms) / variance * (deficit - dot(&solution, terms)))
            .collect();
        let lag = |lag: usize| -> f64 { influences[lag..].iter().zip(&influences).map(|(a, b)| a * b).sum() };
        let seen = (0..=2).map(|at| lag(at) * [1.0, 4.0 / 3.0, 2.0 / 3.0][at]).sum::<f64>().max(lag(0));
        let freedom = (rows.len() - TERMS) as f64;
        let of_residuals = (seen * rows.len() as f64 / freedom).sqrt();
        Some((solution[1], Errors { of_residuals, freedom, of_model: inverse[1][1].sqrt() }))
    }
}

/// How far from the truth the slope may be: by what the residuals show, and by what random events would make.
#[derive(Clone, Copy, Debug)]
struct Errors {
    of_residuals: f64,
    freedom: f64,
    of_model: f64,
}

impl Errors {
    /// What is exceeded by this chance.
    fn at(self, chance: f64) -> f64 {
        let of_residuals = self.of_residuals * student_quantile(1.0 - chance, self.freedom);
        of_residuals.max(self.of_model * normal_quantile(1.0 - chance))
    }
}

impl Block {
    fn mean(pair: &[Block]) -> Block {
        let count = pair.len() as f32;
        let of = |field: fn(&Block) -> f32| pair.iter().map(field).sum::<f32>() / count;
        Block {
            count: of(|block| block.count),
            deficit: of(|block| block.deficit),
            width: of(|block| block.width),
            place: of(|block| block.place),
            variance: of(|block| block.variance) / count,
        }
    }
}

/// Whether residuals, each over its expected size, are about as large as expected and independent of each other.
fn are_random(residuals: impl Iterator<Item = f64>) -> bool {
    let residuals: Vec<f64> = residuals.collect();
    let count = residuals.len() as f64;
    let lagged = |lag: usize| residuals[lag..].iter().zip(&residuals).map(|(a, b)| a * b).sum::<f64>();
    let squares = lagged(0);
    let size = squares / (count - TERMS as f64);
    let is_white = (1..=3).all(|lag| (lagged(lag) / squares).abs() < 3.0 / count.sqrt());
    SIZES.contains(&size) && is_white
}

fn dot(left: &[f64; TERMS], right: &[f64; TERMS]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// The inverse of a matrix, by elimination with pivots; none if there is none.
fn invert(mut matrix: [[f64; TERMS]; TERMS]) -> Option<[[f64; TERMS]; TERMS]> {
    let mut inverse: [[f64; TERMS]; TERMS] =
        std::array::from_fn(|row| std::array::from_fn(|column| f64::from(u8::from(row == column))));
    for at in 0..TERMS {
        let pivot = (at..TERMS).max_by(|a, b| matrix[*a][at].abs().total_cmp(&matrix[*b][at].abs()))?;
        matrix.swap(at, pivot);
        inverse.swap(at, pivot);
        let divisor = matrix[at][at];
        if divisor.abs() < 1e-300 || !divisor.is_finite() {
            return None;
        }
        for column in 0..TERMS {
            matrix[at][column] /= divisor;
            inverse[at][column] /= divisor;
        }
        for row in (0..TERMS).filter(|row| *row != at) {
            let factor = matrix[row][at];
            for column in 0..TERMS {
                matrix[row][column] -= factor * matrix[at][column];
                inverse[row][column] -= factor * inverse[at][column];
            }
        }
    }
    Some(inverse)
}
