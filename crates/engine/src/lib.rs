//! DataFusion in process behind the [`Engine`] trait.
//!
//! Comes in: one `SELECT` and the tables it may see. Goes out: a table. SQL reaches nothing else: no files, no other
//! statements, no settings.
//!
//! ```
//! use acequia_engine::DataFusionEngine;
//! use acequia_frame::{Engine, SqlStep, Table};
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use std::sync::Arc;
//! let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)])?;
//! let numbers = Table::new("numbers", vec![batch])?;
//! let step = SqlStep { name: "sum".to_owned(), sql: "SELECT SUM(x) AS total FROM numbers".to_owned(), expects: None };
//! let sum = DataFusionEngine::new(1).run(&step, &[&numbers])?;
//! assert_eq!(sum.column("total")?.as_ref(), &Int64Array::from(vec![6]) as &dyn arrow::array::Array);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "cluster")]
mod cluster;

#[cfg(feature = "cluster")]
pub use cluster::{ClusterEngine, ClusterError, ClusterSettings, Exchange, serve_executor, serve_scheduler};

use std::sync::Arc;

use acequia_frame::{Engine, EngineError, SqlStep, Table};
use arrow::datatypes::Schema;
use datafusion::catalog::MemTable;
use datafusion::common::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

/// Runs SQL on a number of threads. One session per step, so that nothing carries over.
#[derive(Debug, Clone)]
pub struct DataFusionEngine {
    threads: usize,
}

impl DataFusionEngine {
    /// An engine that uses `threads` threads (at least one).
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1) }
    }

    async fn execute(&self, step: &SqlStep, inputs: &[&Table]) -> Result<Table, EngineError> {
        let plan = |error: DataFusionError| plan_error(step, &error);
        let run = |_: DataFusionError| EngineError::Run { step: step.name.clone(), kind: "evaluation" };
        let config = SessionConfig::new().with_target_partitions(self.threads).with_information_schema(false);
        let context = SessionContext::new_with_config(config);
        for table in inputs {
            let memory = MemTable::try_new(Arc::clone(table.schema()), vec![table.batches().to_vec()]).map_err(plan)?;
            context.register_table(table.name(), Arc::new(memory)).map_err(plan)?;
        }
        let frame = checked(&context, step).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        if let Some(expected) = &step.expects {
            check_columns(step, expected, &schema)?;
        }
        let batches = frame.collect().await.map_err(run)?;
        // What the optimiser proves non-null differs between plan and batches; the batches decide.
        let schema = batches.first().map_or(schema, |batch| batch.schema());
        let run = |_| EngineError::Run { step: step.name.clone(), kind: "result" };
        Table::with_schema(&step.name, schema, batches).map_err(run)
    }
}

/// The step as a plan over the tables of a session: one steady `SELECT`, or why not.
async fn checked(context: &SessionContext, step: &SqlStep) -> Result<DataFrame, EngineError> {
    let plan = |error: DataFusionError| plan_error(step, &error);
    let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context.sql_with_options(&step.sql, only_queries).await.map_err(plan)?;
    if is_explain(frame.logical_plan()) {
        return Err(EngineError::Plan { step: step.name.clone(), message: "only a SELECT is allowed".to_owned() });
    }
    if let Some(function) = unsteady(frame.logical_plan()).map_err(plan)? {
        let message = format!("{function}() gives another answer each time, so the step could not be repeated");
        return Err(EngineError::Plan { step: step.name.clone(), message });
    }
    Ok(frame)
}

/// The first function in a plan whose answer depends on anything but its arguments: `now`, `random`.
fn unsteady(plan: &datafusion::logical_expr::LogicalPlan) -> Result<Option<String>, DataFusionError> {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    use datafusion::logical_expr::{Expr, Volatility};
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    found = Some(call.func.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn is_explain(plan: &datafusion::logical_expr::LogicalPlan) -> bool {
    use datafusion::logical_expr::LogicalPlan;
    matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_))
}

/// The planner talks about the recipe's SQL and the tables' columns; it has not seen a row.
fn plan_error(step: &SqlStep, error: &DataFusionError) -> EngineError {
    let message = error.strip_backtrace();
    let message = message.lines().next().unwrap_or_default().to_owned();
    EngineError::Plan { step: step.name.clone(), message }
}

fn check_columns(step: &SqlStep, expected: &Schema, found: &Schema) -> Result<(), EngineError> {
    let wrong = |column: &str, found: String, expected: String| {
        Err(EngineError::Columns { step: step.name.clone(), column: column.to_owned(), found, expected })
    };
    for field in expected.fields() {
        match found.field_with_name(field.name()) {
            Err(_) => return wrong(field.name(), "missing".to_owned(), field.data_type().to_string()),
            Ok(column) if column.data_type() != field.data_type() => {
                return wrong(field.name(), column.data_type().to_string(), field.data_type().to_string());
            }
            Ok(_) => {}
        }
    }
    let extra = found.fields().iter().find(|field| expected.field_with_name(field.name()).is_err());
    extra.map_or(Ok(()), |field| wrong(field.name(), field.data_type().to_string(), "absent".to_owned()))
}

impl Engine for DataFusionEngine {
    fn run(&self, step: &SqlStep, inputs: &[&Table]) -> Result<Table, EngineError> {
        apart(step, self.threads, || self.execute(step, inputs))
    }
}

/// Runs a future to its end on threads of its own: callers may be inside an async runtime, where blocking on another one
/// is not allowed.
fn apart<F: Future<Output = Result<Table, EngineError>>>(
    step: &SqlStep,
    threads: usize,
    work: impl FnOnce() -> F + Send,
) -> Result<Table, EngineError> {
    let failed = |kind| EngineError::Run { step: step.name.clone(), kind };
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
            runtime.map_err(|_| failed("threads"))?.block_on(work())
        });
        worker.join().map_err(|_| failed("panic"))?
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn tables() -> (Table, Table) {
        let ids = Arc::new(Int64Array::from_iter_values(0..5000)) as ArrayRef;
        let groups = Arc::new(Int64Array::from_iter_values((0..5000).map(|id| id % 7))) as ArrayRef;
        let person = RecordBatch::try_from_iter([("person_id", ids), ("g", groups)]).unwrap();
        let g = Arc::new(Int64Array::from_iter_values(0..7)) as ArrayRef;
        let names = Arc::new(StringArray::from_iter_values((0..7).map(|g| format!("Secretname{g}")))) as ArrayRef;
        let names = RecordBatch::try_from_iter([("g", g), ("name", names)]).unwrap();
        (Table::new("person", vec![person]).unwrap(), Table::new("names", vec![names]).unwrap())
    }

    fn step(sql: &str) -> SqlStep {
        SqlStep { name: "s".to_owned(), sql: sql.to_owned(), expects: None }
    }

    fn run(sql: &str, threads: usize) -> Result<Table, EngineError> {
        let (person, names) = tables();
        DataFusionEngine::new(threads).run(&step(sql), &[&person, &names])
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let sql = "SELECT name, COUNT(*) AS n, MAX(first) AS first FROM (SELECT n.name, FIRST_VALUE(p.person_id) OVER \
                   (PARTITION BY p.g ORDER BY p.person_id) AS first FROM person p JOIN names n ON n.g = p.g) AS x GROUP BY name";
        let digest = |threads| run(sql, threads).unwrap().sorted().unwrap().digest();
        assert_eq!(digest(1), digest(2));
    }

    #[test]
    fn only_a_select_runs() {
        for sql in [
            "CREATE TABLE t AS SELECT 1",
            "COPY person TO 'out.csv'",
            "INSERT INTO person VALUES (1, 2)",
            "SET datafusion.execution.batch_size = 1",
            "DROP TABLE person",
            "EXPLAIN SELECT 1",
            "SELECT 1; SELECT 2",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x.csv'",
            "SELECT * FROM 'x.csv'",
            "SELECT * FROM nobody",
            "SELECT now() AS n FROM person",
            "SELECT * FROM person WHERE random() < 0.5",
            "SELECT * FROM person WHERE person_id IN (SELECT CAST(random() AS BIGINT))",
            "SELECT current_date AS d",
        ] {
            assert!(matches!(run(sql, 1), Err(EngineError::Plan { .. })), "{sql}");
        }
    }

    #[test]
    fn a_failure_while_running_tells_no_value() {
        let error = run("SELECT CAST(name AS BIGINT) AS n FROM names", 1).unwrap_err();
        assert_eq!(error.to_string(), "step s: the SQL failed while running (evaluation)");
        let error = run("SELECT 1 / (person_id - person_id) AS n FROM person", 1).unwrap_err();
        assert!(matches!(error, EngineError::Run { .. }));
    }

    #[test]
    fn columns_are_checked_before_the_run() {
        let (person, names) = tables();
        let expects = Some(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let engine = DataFusionEngine::new(1);
        let wanted = |sql: &str| engine.run(&SqlStep { expects: expects.clone(), ..step(sql) }, &[&person, &names]);
        assert!(wanted("SELECT COUNT(*) AS n FROM person").is_ok());
        assert!(matches!(wanted("SELECT name AS n FROM names"), Err(EngineError::Columns { .. })));
        assert!(matches!(wanted("SELECT 1 AS m"), Err(EngineError::Columns { .. })));
    }

    #[test]
    fn it_runs_inside_another_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let rows = runtime.block_on(async { run("SELECT * FROM person", 2).unwrap().rows() });
        assert_eq!(rows, 5000);
    }
}
