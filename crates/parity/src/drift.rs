//! Drift: a loss that shows before the sandwich breaks.
//!
//! The sandwich allows each side anything between two samples of the other; where events come at random, most of that
//! is far from likely. So the deficit of one side against the other's count, interpolated at the same moment, is fitted
//! with a line over the count: its slope is the share that is lost. What else moves the deficit without a loss stands
//! beside it in the fit: the width of the bracket (a skew of the clocks, or events that always come at the same point of
//! an interval, are a share of it) and where in the bracket the sample lies (phases that slide). Where the slide cannot
//! be told from a loss, the slope is known badly and nothing is said.
//!
//! The test speaks only if the slope is beyond a share of the margin, and beyond what clocks that wander within their bound
//! and samplers that slide past a group of events can do, by a multiple of its error that chance reaches once in a million
//! looks. The error is what random events in groups as large as they seem would make. And it speaks only where that is
//! believable, in three ways. From one sample to the next the residuals move as random events make them move; over longer
//! times a loss moves them too, since it comes at random itself. A line explains the deficit better than any single step
//! does, which is what a sampler leaves that slides past the moments at which events are added up and handed on. And, where
//! the counter looks at it, the sandwich has room for at least half of the slope.

use crate::stats::{ln_normal_tail, normal_quantile};
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
const SHARE_OF_MARGIN: f64 = 0.15;

/// The squares of differences between neighbouring residuals may be so large, beside what they are expected to be.
const SIZES: std::ops::Range<f64> = 0.4..2.2;
/// How these differences may go together, as a multiple of what chance makes of as many.
const TOGETHER_MAX: f64 = 4.0;
/// By so much the line has to be better than any step, in squares of residuals.
const BETTER_BY: f64 = 4.0;
/// Width and place move the deficit by such a share of the bracket: more would be events that are not random.
const OF_BRACKET: f64 = 0.3;

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
    /// The trend is looked at again where there are so many samples.
    next: u32,
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
        let block = std::mem::take(&mut self.open).over(std::mem::take(&mut self.open_samples));
        // Grown by hand: a series has no bytes to spare.
        if self.blocks.len() == self.blocks.capacity() {
            self.blocks.reserve_exact(8);
        }
        self.blocks.push(block);
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

    /// How many events seem to come together, at least one.
    fn groups(&self) -> f64 {
        if self.widths > 0.0 { (self.squares / self.widths).max(1.0) } else { 1.0 }
    }

    /// The share that is lost, negative where the other side loses, if it is beyond doubt that it is not nothing.
    pub(crate) fn loss(&self, demand: &Demand) -> Option<f64> {
        let trend = self.trend(demand)?;
        let is_clear = trend.beyond > trend.error * normal_quantile(1.0 - FALSE_ALARM);
        (is_clear && trend.is_line()).then_some(trend.slope)
    }

    /// The logarithm of the chance that the slope comes to what it is where nothing is lost, if it says anything.
    pub(crate) fn ln_chance(&self, demand: &Demand) -> Option<f64> {
        let trend = self.trend(demand)?;
        let is_said = trend.beyond <= 0.0 || trend.is_line();
        is_said.then(|| ln_normal_tail(trend.beyond / trend.error))
    }

    /// So many samples there are, and no more once the trend is not followed any longer.
    pub(crate) fn samples(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX) * self.block_samples.max(1)
    }

    /// Whether there is enough more than at the last look: a sixteenth.
    pub(crate) fn is_due(&mut self) -> bool {
        let seen = self.samples() + self.open_samples;
        let is_due = seen >= self.next;
        if is_due {
            self.next = seen + seen / 16;
        }
        is_due
    }

    /// The line through the deficit, if the residuals allow to believe it.
    fn trend(&self, demand: &Demand) -> Option<Trend> {
        if self.blocks.len() < BLOCKS_MIN {
            return None;
        }
        let seconds = self.last_unix_ns.saturating_sub(self.first?.time_unix_ns) as f64;
        let of_skew = 2.0 * demand.skew_ns as f64 / seconds.max(1.0);
        // A sampler that slides past the moments at which groups come moves by one of them.
        let of_group = self.width_min.min(self.groups()) / f64::from(self.blocks.last()?.count).max(1.0);
        let allowed = of_skew.max(SHARE_OF_MARGIN * demand.margin_ratio).max(of_group);
        let rows = self.rows();
        let fit = Fit::of(&rows)?;
        let size = fit.local_size(&rows)?;
        let slope = fit.slope();
        let error = (fit.variance * size.max(1.0)).sqrt();
        Some(Trend { slope, beyond: slope.abs() - allowed, error, size, fit, rows })
    }

    /// The blocks, and what is not yet one.
    fn rows(&self) -> Vec<Row> {
        let groups = self.groups();
        let open = (self.open_samples > 0).then(|| self.open.over(self.open_samples));
        let row = |block: Block| Row {
            terms: [1.0, block.count.into(), block.width.into(), block.place.into()],
            deficit: block.deficit.into(),
            // A count moves in steps of one: no sample is better than that.
            variance: (groups * f64::from(block.variance)).max(1.0 / 12.0),
        };
        self.blocks.iter().copied().chain(open).map(row).collect()
    }
}

impl Block {
    /// The mean of what was added up.
    fn over(self, samples: u32) -> Block {
        let samples = samples as f32;
        let Block { count, deficit, width, place, variance } = self;
        let [count, deficit, width, place] = [count, deficit, width, place].map(|sum| sum / samples);
        Block { count, deficit, width, place, variance: variance / samples.powi(2) }
    }

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

/// A line through the deficit.
struct Trend {
    slope: f64,
    /// By how much the slope is more than what is allowed.
    beyond: f64,
    error: f64,
    size: f64,
    fit: Fit,
    rows: Vec<Row>,
}

impl Trend {
    /// Whether a line explains the deficit better than any single step does.
    fn is_line(&self) -> bool {
        self.fit.squares(&self.rows) + BETTER_BY * self.size < best_step(&self.rows)
    }
}

/// One equation of the fit.
#[derive(Clone, Copy, Debug)]
struct Row {
    terms: [f64; TERMS],
    deficit: f64,
    variance: f64,
}

/// What fits the rows best.
#[derive(Clone, Copy, Debug)]
struct Fit {
    solution: [f64; TERMS],
    /// Of the slope.
    variance: f64,
}

impl Fit {
    fn of(rows: &[Row]) -> Option<Fit> {
        let mut matrix = [[0.0; TERMS]; TERMS];
        let mut right = [0.0; TERMS];
        for row in rows {
            for (at, term) in row.terms.into_iter().enumerate() {
                let weighed = term / row.variance;
                right[at] += weighed * row.deficit;
                matrix[at].iter_mut().zip(row.terms).for_each(|(sum, other)| *sum += weighed * other);
            }
        }
        // What does not vary stands still instead of making the rest unknowable.
        for (at, row) in matrix.iter_mut().enumerate() {
            row[at] *= 1.0 + 1e-7;
        }
        matrix[2][2] += OF_BRACKET.powi(-2);
        matrix[3][3] += OF_BRACKET.powi(-2);
        let inverse = invert(matrix)?;
        let solution = std::array::from_fn(|row| dot(&inverse[row], &right));
        Some(Fit { solution, variance: inverse[1][1] })
    }

    fn slope(&self) -> f64 {
        self.solution[1]
    }

    fn residual(&self, row: &Row) -> f64 {
        (row.deficit - dot(&self.solution, &row.terms)) / row.variance.sqrt()
    }

    fn squares(&self, rows: &[Row]) -> f64 {
        rows.iter().map(|row| self.residual(row).powi(2)).sum()
    }

    /// How large residuals are beside what is expected, seen from one to the next; none if that is too much or too little,
    /// or if they are not independent of each other. Differences of independent values go together by a half, and no
    /// further.
    fn local_size(&self, rows: &[Row]) -> Option<f64> {
        let residuals: Vec<f64> = rows.iter().map(|row| self.residual(row)).collect();
        let steps: Vec<f64> = residuals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let count = steps.len() as f64;
        let lagged = |lag: usize| steps[lag..].iter().zip(&steps).map(|(a, b)| a * b).sum::<f64>();
        let squares = lagged(0);
        let size = squares / 2.0 / (count - (TERMS - 1) as f64);
        let expected = [-0.5, 0.0, 0.0];
        let is_white = (1..)
            .zip(expected)
            .all(|(lag, expected)| (lagged(lag) / squares - expected).abs() < TOGETHER_MAX / count.sqrt());
        (SIZES.contains(&size) && is_white).then_some(size)
    }
}

/// The squares of residuals that the best single step leaves in place of the line.
fn best_step(rows: &[Row]) -> f64 {
    let squares = |at: usize| {
        let step = |(row, known): (usize, &Row)| {
            let [one, _, width, place] = known.terms;
            Row { terms: [one, f64::from(u8::from(row >= at)), width, place], ..*known }
        };
        let rows: Vec<Row> = rows.iter().enumerate().map(step).collect();
        Fit::of(&rows).map(|fit| fit.squares(&rows))
    };
    (2..rows.len() - 1).filter_map(squares).fold(f64::INFINITY, f64::min)
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
