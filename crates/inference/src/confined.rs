//! A process of its own for a model of somebody else: little memory, little time, no file that it could write.
//!
//! The process is this program again. Over its standard streams it gets the file and rows, batch by batch, and gives numbers back.
//! What a graph does to it, it does to nothing else: it ends, and the caller has an error.

use std::ffi::OsStr;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::file::plain;
use crate::run::{Plan, fitted};
use crate::{Cells, InferenceError, Input, ModelFile, Predictions};

/// The word on the command line that makes a process of this program a confined one.
const WORD: &str = "confined-inference";

/// What a model may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of its process in MiB, the program included.
    pub memory_mib: u64,
    /// Seconds of a processor until its graph is ready.
    pub ready_s: u64,
    /// Seconds of a processor for a batch of at most 256 rows.
    pub batch_s: u64,
}

impl Default for Limits {
    /// Two GiB, a minute, and twenty seconds: a thousand times what tabular models take.
    fn default() -> Self {
        Self { memory_mib: 2048, ready_s: 60, batch_s: 20 }
    }
}

/// Signals of Linux: out of processor time; ended by itself, as without memory; ended by the system, as without memory.
const SIGXCPU: i32 = 24;
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

static CONFINABLE: AtomicBool = AtomicBool::new(false);

/// The first line of a `main` whose models are to run in a process of their own: from then on they do. Where this very process is one, it
/// does its work here, and there is an exit code.
#[must_use = "a confined process ends with it"]
pub fn confinable() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next().as_deref() == Some(OsStr::new(WORD)) && words.next().is_none() {
        return Some(match serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        });
    }
    CONFINABLE.store(true, Ordering::Relaxed);
    None
}

pub(crate) fn is_confinable() -> bool {
    CONFINABLE.load(Ordering::Relaxed)
}

/// See [`crate::predict`].
pub(crate) fn predict(
    model: &ModelFile,
    inputs: &[Input],
    output: &str,
    limits: &Limits,
) -> Result<Predictions, InferenceError> {
    let (inputs, rows) = fitted(model, inputs)?;
    model.output(output)?;
    let mut process = Process::start()?;
    let said = process.predicted(model, &inputs, output, rows, limits);
    match said {
        Ok(Ok(predictions)) => Ok(predictions),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(process.ended(limits)),
    }
}

struct Process {
    child: Child,
    to: Option<BufWriter<ChildStdin>>,
    from: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start() -> Result<Self, InferenceError> {
        let failed = |error: io::Error| InferenceError::Process { problem: error.kind() };
        // Also while a newer program lies where this one was started from.
        let mut child = Command::new("/proc/self/exe")
            .arg(WORD)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let streams = child.stdin.take().zip(child.stdout.take());
        let (to, from) = streams.ok_or(InferenceError::Process { problem: io::ErrorKind::BrokenPipe })?;
        Ok(Self { child, to: Some(BufWriter::new(to)), from: BufReader::new(from) })
    }

    /// Asks, batch by batch. The outer error is that of a process that is no more.
    fn predicted(
        &mut self,
        model: &ModelFile,
        inputs: &[&Input],
        output: &str,
        rows: usize,
        limits: &Limits,
    ) -> io::Result<Result<Predictions, InferenceError>> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let to = self.to.as_mut().ok_or_else(gone)?;
        [limits.memory_mib, limits.ready_s, limits.batch_s].iter().try_for_each(|limit| write_number(to, *limit))?;
        write_bytes(to, model.bytes())?;
        write_bytes(to, output.as_bytes())?;
        write_number(to, rows as u64)?;
        write_number(to, inputs.len() as u64)?;
        for input in inputs {
            write_number(to, input.width as u64)?;
            let texts = match &input.cells {
                Cells::Texts { texts, .. } => texts.as_slice(),
                Cells::Numbers(_) => &[],
            };
            write_number(to, texts.len() as u64)?;
            texts.iter().try_for_each(|text| write_bytes(to, text.as_bytes()))?;
        }
        to.flush()?;
        let (at_once, width) = match read_answer(&mut self.from)? {
            Ok(numbers) if numbers.len() == 2 => (whole(numbers[0])?, whole(numbers[1])?),
            Ok(_) => return Err(gone()),
            Err(error) => return Ok(Err(error)),
        };
        let mut values = Vec::new();
        for from in (0..rows).step_by(at_once.max(1)) {
            let many = at_once.min(rows - from);
            for input in inputs {
                let range = from * input.width..(from + many) * input.width;
                match &input.cells {
                    Cells::Numbers(cells) => {
                        cells[range].iter().try_for_each(|cell| to.write_all(&cell.to_le_bytes()))?;
                    }
                    Cells::Texts { cells, .. } => {
                        cells[range].iter().try_for_each(|cell| to.write_all(&cell.to_le_bytes()))?;
                    }
                }
            }
            to.flush()?;
            match read_answer(&mut self.from)? {
                Ok(batch) if batch.len() == many * width => values.extend(batch),
                Ok(_) => return Err(gone()),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(Predictions { width, values }))
    }

    /// Why the process is no more.
    fn ended(&mut self, limits: &Limits) -> InferenceError {
        self.to = None;
        let signal = self.child.wait().ok().and_then(|status| status.signal());
        match signal {
            Some(SIGXCPU) => InferenceError::Exhausted {
                limit: format!(
                    "{} seconds of a processor to be made ready, or {} for a batch of rows",
                    limits.ready_s, limits.batch_s
                ),
            },
            Some(SIGABRT | SIGKILL) => {
                InferenceError::Exhausted { limit: format!("{} MiB of memory", limits.memory_mib) }
            }
            _ => InferenceError::Failed { problem: "its process broke off".to_owned() },
        }
    }
}

/// Answers over the standard streams, as the confined process.
fn serve() -> io::Result<()> {
    let limit = |resource, limit: u64| setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    let (mut from, mut to) = (BufReader::new(io::stdin().lock()), BufWriter::new(io::stdout().lock()));
    let mut told = || read_count(&mut from, 1 << 40).map(|limit| limit as u64);
    let limits = Limits { memory_mib: told()?, ready_s: told()?, batch_s: told()? };
    limit(Resource::As, limits.memory_mib << 20)?;
    time(limits.ready_s)?;
    let bytes = read_bytes(&mut from, crate::FILE_BYTES_MAX)?;
    let output = read_text(&mut from)?;
    let (rows, many) = (read_count(&mut from, u64::MAX)?, read_count(&mut from, 1 << 16)?);
    let (mut widths, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..many {
        widths.push(read_count(&mut from, 1 << 16)?);
        let known = read_count(&mut from, 1 << 20)?;
        texts.push((0..known).map(|_| read_text(&mut from)).collect::<io::Result<Vec<String>>>()?);
    }
    let plan = match Plan::new(&bytes, &widths, &output, rows) {
        Ok(plan) => plan,
        Err(error) => return write_answer(&mut to, Err(&error)),
    };
    #[expect(clippy::cast_precision_loss, reason = "both are small")]
    write_answer(&mut to, Ok(&[plan.rows as f64, plan.width as f64]))?;
    for begin in (0..rows).step_by(plan.rows) {
        let here = plan.rows.min(rows - begin);
        let mut batch = Vec::with_capacity(many);
        for (at, width) in widths.iter().enumerate() {
            let count = here * width;
            batch.push(match plan.is_text(at) {
                false => Cells::Numbers(read_each(&mut from, count, f64::from_le_bytes)?),
                true => {
                    let cells = read_each(&mut from, count, u32::from_le_bytes)?;
                    Cells::Texts { texts: texts[at].clone(), cells }
                }
            });
        }
        time(limits.batch_s)?;
        let said = plan.batch(batch, begin == 0, here);
        write_answer(&mut to, said.as_deref())?;
    }
    Ok(())
}

/// So much more processor time from now on; then the system ends the process.
fn time(seconds: u64) -> io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
    Ok(setrlimit(Resource::Cpu, Rlimit { current: Some(used + 1 + seconds), maximum: None })?)
}

fn write_number(to: &mut impl Write, number: u64) -> io::Result<()> {
    to.write_all(&number.to_le_bytes())
}

fn write_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    write_number(to, bytes.len() as u64)?;
    to.write_all(bytes)
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn read_count(from: &mut impl Read, most: u64) -> io::Result<usize> {
    let mut eight = [0; 8];
    from.read_exact(&mut eight)?;
    let number = u64::from_le_bytes(eight);
    usize::try_from(number).ok().filter(|_| number <= most).ok_or_else(broken)
}

fn read_bytes(from: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; read_count(from, most)?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_text(from: &mut impl Read) -> io::Result<String> {
    String::from_utf8(read_bytes(from, 1 << 16)?).map_err(|_| broken())
}

fn read_each<T, const N: usize>(from: &mut impl Read, count: usize, of: fn([u8; N]) -> T) -> io::Result<Vec<T>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut bytes = [0; N];
        from.read_exact(&mut bytes)?;
        all.push(of(bytes));
    }
    Ok(all)
}

fn whole(number: f64) -> io::Result<usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    let count = number as usize;
    if number >= 1.0 && number <= f64::from(1 << 20) && number.fract() == 0.0 { Ok(count) } else { Err(broken()) }
}

/// An answer: numbers, or an error by its kind and words.
fn write_answer(to: &mut impl Write, answer: Result<&[f64], &InferenceError>) -> io::Result<()> {
    match answer {
        Ok(numbers) => {
            write_number(to, 0)?;
            write_number(to, numbers.len() as u64)?;
            numbers.iter().try_for_each(|number| to.write_all(&number.to_le_bytes()))?;
        }
        Err(error) => {
            let (kind, words) = match error {
                InferenceError::Port { problem } => (1, problem.clone()),
                InferenceError::Unready { problem } => (2, problem.clone()),
                InferenceError::Failed { problem } => (3, problem.clone()),
                other => (2, other.to_string()),
            };
            write_number(to, kind)?;
            write_bytes(to, words.as_bytes())?;
        }
    }
    to.flush()
}

fn read_answer(from: &mut impl Read) -> io::Result<Result<Vec<f64>, InferenceError>> {
    let kind = read_count(from, 3)?;
    if kind == 0 {
        let count = read_count(from, 1 << 24)?;
        return Ok(Ok(read_each(from, count, f64::from_le_bytes)?));
    }
    let problem = plain(&read_text(from)?);
    Ok(Err(match kind {
        1 => InferenceError::Port { problem },
        2 => InferenceError::Unready { problem },
        _ => InferenceError::Failed { problem },
    }))
}
