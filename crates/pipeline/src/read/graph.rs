//! Which job waits for which: all of them exist, and nobody waits for ever.

use crate::fields::Spot;
use crate::problem::Problem;

/// A job and those that it waits for.
pub(super) struct Waits {
    pub(super) name: Spot,
    pub(super) depends_on: Vec<Spot>,
}

impl Waits {
    fn is(&self, name: &str) -> bool {
        self.name.text.eq_ignore_ascii_case(name)
    }
}

pub(super) fn check(jobs: &[Waits]) -> Result<(), Problem> {
    for (index, job) in jobs.iter().enumerate() {
        if jobs[..index].iter().any(|other| other.is(&job.name.text)) {
            return Err(job
                .name
                .problem(format!("job {:?} is there twice", job.name.text)));
        }
    }
    for job in jobs {
        for (index, spot) in job.depends_on.iter().enumerate() {
            if !jobs.iter().any(|other| other.is(&spot.text)) {
                return Err(spot.problem(format!("there is no job {:?}", spot.text)));
            }
            let earlier = &job.depends_on[..index];
            if earlier
                .iter()
                .any(|other| other.text.eq_ignore_ascii_case(&spot.text))
            {
                return Err(spot.problem(format!("job {:?} is there twice", spot.text)));
            }
        }
    }
    check_circles(jobs)
}

/// Takes away jobs that wait for nobody who is left; who stays is in a circle or behind one.
fn check_circles(jobs: &[Waits]) -> Result<(), Problem> {
    let mut rest: Vec<&Waits> = jobs.iter().collect();
    loop {
        let waiting: Vec<&Waits> = rest
            .iter()
            .filter(|job| {
                job.depends_on
                    .iter()
                    .any(|spot| rest.iter().any(|other| other.is(&spot.text)))
            })
            .copied()
            .collect();
        if waiting.len() == rest.len() {
            break;
        }
        rest = waiting;
    }
    // Following any dependency among these comes back to a job that was seen: that one is in the circle.
    let Some(mut job) = rest.first().copied() else {
        return Ok(());
    };
    let mut seen: Vec<&str> = Vec::new();
    loop {
        let next = job.depends_on.iter().find_map(|spot| {
            let other = rest.iter().find(|other| other.is(&spot.text))?;
            Some((spot, *other))
        });
        let Some((spot, other)) = next else {
            return Ok(());
        };
        if other.is(&job.name.text) {
            return Err(spot.problem("a job cannot wait for itself"));
        }
        seen.push(&job.name.text);
        if let Some(from) = seen.iter().position(|name| other.is(name)) {
            return Err(spot.problem(format!(
                "jobs wait for each other in a circle: {}",
                seen[from..].join(", ")
            )));
        }
        job = other;
    }
}

/// The jobs that one waits for, spelt as they spell themselves.
pub(super) fn spelt(job: &Waits, all: &[Waits]) -> Vec<String> {
    job.depends_on
        .iter()
        .filter_map(|spot| all.iter().find(|other| other.is(&spot.text)))
        .map(|other| other.name.text.clone())
        .collect()
}

/// All jobs that have ended before one starts.
pub(super) fn before(job: &Waits, all: &[Waits]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open = spelt(job, all);
    while let Some(name) = open.pop() {
        if !found.contains(&name) {
            open.extend(
                all.iter()
                    .filter(|other| other.is(&name))
                    .flat_map(|other| spelt(other, all)),
            );
            found.push(name);
        }
    }
    found
}
