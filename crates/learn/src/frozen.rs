//! A model as it is measured: frozen, whoever made it.

use acequia_types::Digest;
use serde::Serialize;

use crate::LearnError;
use crate::import::ImportedModel;
use crate::model::{Form, Model};
use crate::plan::{Cohort, Outcome};
use crate::table::Data;
use crate::tasks::Scale;
use crate::validate::Predictor;
use crate::variable::Variable;

/// A frozen model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenModel {
    /// One that this program trained.
    Own(Box<Model>),
    /// One that another program made.
    Imported(Box<ImportedModel>),
}

impl From<Model> for FrozenModel {
    fn from(model: Model) -> Self {
        Self::Own(Box::new(model))
    }
}

impl From<ImportedModel> for FrozenModel {
    fn from(model: ImportedModel) -> Self {
        Self::Imported(Box::new(model))
    }
}

/// The same, lent out.
#[derive(Debug, Clone, Copy)]
pub enum Frozen<'m> {
    /// One that this program trained.
    Own(&'m Model),
    /// One that another program made.
    Imported(&'m ImportedModel),
}

impl<'m> From<&'m Model> for Frozen<'m> {
    fn from(model: &'m Model) -> Self {
        Self::Own(model)
    }
}

impl<'m> From<&'m ImportedModel> for Frozen<'m> {
    fn from(model: &'m ImportedModel) -> Self {
        Self::Imported(model)
    }
}

impl<'m> From<&'m FrozenModel> for Frozen<'m> {
    fn from(model: &'m FrozenModel) -> Self {
        match model {
            FrozenModel::Own(model) => Self::Own(model),
            FrozenModel::Imported(model) => Self::Imported(model),
        }
    }
}

impl FrozenModel {
    /// Names the frozen model.
    pub fn digest(&self) -> Digest {
        Frozen::from(self).digest()
    }

    /// One sentence on what it predicts.
    pub fn title(&self) -> &str {
        Frozen::from(self).title()
    }

    /// Whose rows it is for.
    pub fn cohort(&self) -> &Cohort {
        Frozen::from(self).cohort()
    }
}

impl<'m> Frozen<'m> {
    /// Names the frozen model.
    pub fn digest(self) -> Digest {
        match self {
            Self::Own(model) => model.digest(),
            Self::Imported(model) => model.digest(),
        }
    }

    /// One sentence on what it predicts.
    pub fn title(self) -> &'m str {
        match self {
            Self::Own(model) => &model.title,
            Self::Imported(model) => &model.manifest().title,
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Own(model) => model.kind(),
            Self::Imported(_) => "model of another program",
        }
    }

    /// Whose rows it is for.
    pub fn cohort(self) -> &'m Cohort {
        match self {
            Self::Own(model) => &model.cohort,
            Self::Imported(model) => &model.manifest().cohort,
        }
    }

    pub(crate) fn outcome(self) -> Option<&'m Outcome> {
        match self {
            Self::Own(model) => model.outcome.as_ref(),
            Self::Imported(model) => Some(&model.manifest().outcome),
        }
    }

    pub(crate) fn variables(self) -> Vec<Variable> {
        match self {
            Self::Own(model) => model.inputs(),
            Self::Imported(model) => model.variables(),
        }
    }

    /// Which variables a row may lack.
    pub(crate) fn may_lack(self) -> Vec<bool> {
        match self {
            Self::Own(_) => Vec::new(),
            Self::Imported(model) => model.may_lack(),
        }
    }

    /// Mean and standard deviation of each variable in training, where they are known.
    pub(crate) fn seen(self) -> Vec<Option<Scale>> {
        match self {
            Self::Own(model) => model.variables.iter().map(|one| one.seen).collect(),
            Self::Imported(model) => model.seen(),
        }
    }

    pub(crate) fn is_survival(self) -> bool {
        match self {
            Self::Own(model) => model.is_survival(),
            Self::Imported(_) => matches!(self.outcome(), Some(Outcome::Survival { .. })),
        }
    }

    /// Names of the sites whose rows it learned from; none where its maker does not say.
    pub(crate) fn sites(self) -> Option<&'m [String]> {
        match self {
            Self::Own(model) => Some(&model.sites),
            Self::Imported(model) => model.manifest().developed_at.as_deref(),
        }
    }

    /// Days of the last risk that it states by itself, and those before; 0 and none for an outcome of 0 and 1.
    pub(crate) fn horizons(self) -> (f64, Vec<f64>) {
        let tenths = |last: f64| (last, (1..10).map(|step| last * f64::from(step) / 10.0).collect());
        match self {
            Self::Own(model) => {
                let cut = model.outcome.as_ref().and_then(Outcome::cut_days);
                tenths(match (cut, &model.form) {
                    (Some(cut), _) => cut,
                    (_, Form::Cox { baseline, .. }) => baseline.last().map_or(365.25, |(days, _)| *days),
                    (_, Form::DiscreteTime { ends_days, .. }) => ends_days.last().copied().unwrap_or(365.25),
                    _ => 0.0,
                })
            }
            Self::Imported(model) => {
                let days = model.manifest().horizons_days();
                (days.last().copied().unwrap_or(0.0), days)
            }
        }
    }

    pub(crate) fn predictors(self) -> Vec<Predictor> {
        let predictor = |(at, variable): (usize, Variable)| {
            let of = |numbers: &[f64]| numbers.get(at).copied();
            let (coefficient, standard_error) = match self {
                Self::Own(model) => (of(model.coefficients()), of(model.standard_errors())),
                Self::Imported(_) => (None, None),
            };
            Predictor { column: variable.source().to_owned(), name: variable.name, coefficient, standard_error }
        };
        self.variables().into_iter().enumerate().map(predictor).collect()
    }

    /// Rows as the measures need them: of a model of another program, what it says of them.
    ///
    /// # Errors
    /// As [`ImportedModel::predicted`].
    pub(crate) fn said(self, data: &Data) -> Result<Option<Data>, LearnError> {
        match self {
            Self::Own(_) => Ok(None),
            Self::Imported(model) => model.predicted(data).map(Some),
        }
    }
}
