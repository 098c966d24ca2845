//! Whether a series that only one side has and one that only the other has show the same figures.
//!
//! Both sides are put on the moments at which the slower one was sampled, where the faster one is interpolated. What was
//! counted in all must agree, as must the mean level, within what lies between two samples. That is little proof where
//! many things go on at the same pace, so that it is looked at how the two move from window to window: what is the same
//! moves together, and what only has the same pace does not.

/// So many windows are looked at of a series.
const WINDOWS_MAX: usize = 48;
/// So many samples of the slower side make a window of what counts: the interpolation errs by less than it counts.
const WINDOW_SAMPLES: usize = 4;
/// Of fewer samples in common nothing is said.
const SAMPLES_MIN: usize = 5;
/// The two may differ by this beside what sampling explains: what has another name may also lose a little.
const MARGIN: f64 = 0.02;
/// What is known no better than this says nothing.
const VAGUE: f64 = 0.2;

/// What one side showed of a series: how much was counted so far, or the level, by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Vec<(u64, f64)>);

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// How many events there were.
    Events,
    /// An amount that events add to.
    Amounts,
    /// A level.
    Levels,
}

impl Line {
    /// The newest ones of the counts of a series, in which a fall is a new beginning.
    pub(super) fn of_counts(counts: impl Iterator<Item = (u64, f64)>, samples_max: usize) -> Line {
        let mut total = 0.0;
        let mut last: Option<f64> = None;
        let rising = counts.map(|(time, value)| {
            total += match last.replace(value) {
                Some(last) if value >= last => value - last,
                Some(_) => value,
                None => 0.0,
            };
            (time, total)
        });
        Line::of_levels(rising, samples_max)
    }

    /// The newest ones of the levels of a series.
    pub(super) fn of_levels(levels: impl Iterator<Item = (u64, f64)>, samples_max: usize) -> Line {
        let mut points: Vec<(u64, f64)> = levels.collect();
        points.drain(..points.len().saturating_sub(samples_max));
        points.shrink_to_fit();
        Line(points)
    }

    fn span(&self) -> Option<(u64, u64)> {
        Some((self.0.first()?.0, self.0.last()?.0))
    }

    /// The points from one moment to another.
    fn between(&self, from: u64, to: u64) -> &[(u64, f64)] {
        let start = self.0.partition_point(|(time, _)| *time < from);
        let end = self.0.partition_point(|(time, _)| *time <= to);
        &self.0[start..end.max(start)]
    }

    /// Interpolated at a time.
    fn at(&self, time: u64) -> Option<Interpolated> {
        let after = self.0.partition_point(|(known, _)| *known < time);
        let next = self.0.get(after)?;
        if next.0 == time {
            return Some(Interpolated { value: next.1, apart: 0.0, vague: 0.0 });
        }
        let before = self.0.get(after.checked_sub(1)?)?;
        let share = (time - before.0) as f64 / (next.0 - before.0) as f64;
        let value = before.1 + share * (next.1 - before.1);
        Some(Interpolated { value, apart: (next.1 - before.1).abs(), vague: share * (1.0 - share) })
    }
}

/// By how much points differ from what lies between their neighbours: the variance, from one point to the next, of what
/// moves by chance around a straight line.
fn roughness(points: &[(u64, f64)]) -> f64 {
    let residuals = points.windows(3).map(|points| {
        let [before, point, after] = [points[0], points[1], points[2]];
        let share = (point.0 - before.0) as f64 / (after.0 - before.0).max(1) as f64;
        let residual = point.1 - (before.1 + share * (after.1 - before.1));
        residual * residual / (2.0 * share * (1.0 - share)).max(0.1)
    });
    residuals.sum::<f64>() / points.len().saturating_sub(2).max(1) as f64
}

/// A value between two samples.
#[derive(Clone, Copy, Debug)]
struct Interpolated {
    value: f64,
    /// How far the samples around it are apart.
    apart: f64,
    /// The variance there of what moves by chance, as a share of that from one sample to the next.
    vague: f64,
}

/// Two series at the same moments.
#[derive(Clone, Debug)]
pub(super) struct Together {
    /// What each side counted in each window, or its level at each moment; the legacy side first.
    steps: Vec<[f64; 2]>,
    /// How much each side counted in all, or its mean level.
    pub(super) totals: [f64; 2],
    /// By so much the totals may differ for when they are sampled, in the figures of the faster side.
    slack: f64,
    /// The variance of a step that interpolation explains, likewise.
    noise: f64,
    /// How much more of that is in the change from one step to the next.
    noise_of_changes: f64,
    /// The side that was interpolated.
    faster: usize,
}

impl Together {
    /// None where they have not enough moments in common.
    pub(super) fn of(lines: [&Line; 2], shows: Shows) -> Option<Together> {
        let spans = [lines[0].span()?, lines[1].span()?];
        let (from, to) = (spans[0].0.max(spans[1].0), spans[0].1.min(spans[1].1));
        let points = lines.map(|line| line.between(from, to));
        let faster = usize::from(points[1].len() > points[0].len());
        let moments = points[1 - faster];
        if moments.len() < SAMPLES_MIN {
            return None;
        }
        let step = match shows {
            Shows::Levels => moments.len().div_ceil(WINDOWS_MAX),
            _ => (moments.len() - 1).div_ceil(WINDOWS_MAX).max(WINDOW_SAMPLES),
        };
        let mut between = Vec::new();
        let mut levels = Vec::new();
        for (time, slower) in moments.iter().step_by(step) {
            let interpolated = lines[faster].at(*time)?;
            between.push(interpolated);
            levels.push(if faster == 0 { [interpolated.value, *slower] } else { [*slower, interpolated.value] });
        }
        Together::of_levels(levels, &between, roughness(points[faster]), shows)
            .map(|found| Together { faster, ..found })
    }

    fn of_levels(levels: Vec<[f64; 2]>, between: &[Interpolated], roughness: f64, shows: Shows) -> Option<Together> {
        let (first, last) = (levels.first()?, levels.last()?);
        let count = levels.len() as f64;
        let mean = |of: fn(&Interpolated) -> f64| between.iter().map(of).sum::<f64>() / count;
        let vague = roughness * mean(|at| at.vague);
        if shows == Shows::Levels {
            let totals = [0, 1].map(|side| levels.iter().map(|level| level[side]).sum::<f64>() / count);
            let slack = mean(|at| at.apart / 2.0);
            return Some(Together { steps: levels, totals, slack, noise: vague, noise_of_changes: 2.0, faster: 0 });
        }
        let totals = [0, 1].map(|side| last[side] - first[side]);
        // Events are whole, whatever is interpolated.
        let whole = f64::from(u8::from(shows == Shows::Events));
        let slack = between.first()?.apart + between.last()?.apart + whole;
        let noise = 2.0 * (vague + 0.1 * whole);
        let steps = levels.windows(2).map(|pair| [0, 1].map(|side| pair[1][side] - pair[0][side])).collect();
        // An error at one moment is in two steps, one after the other with opposite signs.
        Some(Together { steps, totals, slack, noise, noise_of_changes: 3.0, faster: 0 })
    }

    /// What the sides come to with a factor of the legacy side.
    pub(super) fn compare(&self, scale: f64) -> Agreement {
        let (legacy, new) = (self.totals[0] * scale, self.totals[1]);
        let size = legacy.abs().max(new.abs());
        let tolerance = self.unit(scale) * self.slack + MARGIN * size;
        match (legacy - new).abs() <= tolerance {
            _ if size == 0.0 => Agreement::Still,
            false => Agreement::Differs,
            true if tolerance > VAGUE * size => Agreement::Vague,
            true => Agreement::Agrees,
        }
    }

    /// How precisely the totals are known beside their size.
    pub(super) fn vagueness(&self, scale: f64) -> f64 {
        let size = (self.totals[0] * scale).abs().max(self.totals[1].abs());
        self.unit(scale) * self.slack / size.max(f64::MIN_POSITIVE)
    }

    /// The factor of what is told in the figures of the faster side.
    fn unit(&self, scale: f64) -> f64 {
        if self.faster == 0 { scale.abs() } else { 1.0 }
    }
}

/// Whether the totals are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    Agrees,
    /// Neither side has anything.
    Still,
    /// They may be the same, and may as well not.
    Vague,
    Differs,
}

/// How two metrics move, over all of their series.
#[derive(Clone, Debug, Default)]
pub(super) struct Movement {
    steps: Sums,
    /// From one step to the next: what both follow, such as a day's load, is not in it.
    changes: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    legacy: f64,
    new: f64,
    both: f64,
    noise: f64,
    count: f64,
}

/// What the movement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    /// They move apart.
    Unlike,
    /// Nothing moves, or no more than sampling explains.
    Unknown,
    /// They move together, which may be chance where one has looked at much.
    Alike,
    /// They move together as no two others do.
    Same,
}

/// Beyond so many times the variance that interpolation explains, a movement is one of the metric itself.
const NOISE_TIMES: f64 = 3.0;
/// What is apart by more than so many times of it is not the same.
const APART_TIMES: f64 = 4.0;
/// So far, in standard errors, is a correlation from none: one in a thousand, and less than one in a million.
const ALIKE: f64 = 3.0;
const SAME: f64 = 5.0;
/// The least correlation of what moves together.
const TOGETHER_MIN: f64 = 0.6;
/// Of fewer steps nothing follows.
const STEPS_MIN: f64 = 8.0;

impl Sums {
    fn add(&mut self, steps: &[[f64; 2]], noise: f64) {
        let count = steps.len() as f64;
        let means = [0, 1].map(|side| steps.iter().map(|step| step[side]).sum::<f64>() / count);
        for step in steps {
            let (legacy, new) = (step[0] - means[0], step[1] - means[1]);
            self.legacy += legacy * legacy;
            self.new += new * new;
            self.both += legacy * new;
            self.noise += noise;
        }
        self.count += (count - 1.0).max(0.0);
    }

    fn likeness(&self) -> Likeness {
        let size = self.legacy + self.new;
        if self.count < STEPS_MIN || size <= 0.0 {
            return Likeness::Unknown;
        }
        // Also the size of what moves has to be the same, not only its direction.
        let together = (2.0 * self.both / size).clamp(-0.999_999, 0.999_999);
        let errors = together.atanh() * (self.count - 2.0).sqrt();
        if together >= TOGETHER_MIN && errors >= ALIKE {
            return if errors >= SAME { Likeness::Same } else { Likeness::Alike };
        }
        // Interpolation hides what moves alike, and makes nothing move alike.
        let is_hidden = size <= 2.0 * NOISE_TIMES * self.noise && size - 2.0 * self.both <= APART_TIMES * self.noise;
        if is_hidden { Likeness::Unknown } else { Likeness::Unlike }
    }
}

impl Movement {
    pub(super) fn add(&mut self, together: &Together, scale: f64) {
        let steps: Vec<[f64; 2]> = together.steps.iter().map(|step| [step[0] * scale, step[1]]).collect();
        let noise = together.noise * together.unit(scale).powi(2);
        // Roundings of large values are no movement.
        let size = steps.iter().flatten().fold(0.0, |size: f64, step| size.max(step.abs()));
        let noise = noise + (1e-6 * size).powi(2);
        self.steps.add(&steps, noise);
        let changes: Vec<[f64; 2]> =
            steps.windows(2).map(|pair| [pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]]).collect();
        self.changes.add(&changes, together.noise_of_changes * noise);
    }

    pub(super) fn likeness(&self) -> Likeness {
        let (steps, changes) = (self.steps.likeness(), self.changes.likeness());
        match (steps, changes) {
            // What moves slowly may do so together by chance.
            (Likeness::Same, Likeness::Unknown) => Likeness::Alike,
            (steps, changes) => steps.min(changes),
        }
    }
}
