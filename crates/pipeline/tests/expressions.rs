//! Expressions, as conditions and `$[ ]` use them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests fail like tests.

use dayfly_pipeline::expression::{
    EvaluateError, Expression, Place, Scope, Status, StatusQuestion, Value,
};
use dayfly_wire::event::TaskResult;

/// The jobs `build` (succeeded) and `lint` (skipped), in a run that is not cancelled.
struct Run;

impl Status for Run {
    fn holds(&self, question: StatusQuestion, jobs: &[String]) -> bool {
        let good = |job: &String| job.eq_ignore_ascii_case("build");
        match question {
            StatusQuestion::Canceled | StatusQuestion::Failed => false,
            StatusQuestion::Succeeded => !jobs.is_empty() && jobs.iter().all(good),
            StatusQuestion::SucceededOrFailed => true,
        }
    }
}

fn variable(name: &str) -> Option<String> {
    match name.to_lowercase().as_str() {
        "build.sourcebranch" => Some("refs/heads/main".to_owned()),
        "flag" => Some("false".to_owned()),
        "count" => Some("12".to_owned()),
        _ => None,
    }
}

fn dependencies() -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    let job = |result: &str, outputs: Value| {
        Value::object([
            ("result".to_owned(), text(result)),
            ("outputs".to_owned(), outputs),
        ])
    };
    let outputs = Value::object([("setter.version".to_owned(), text("1.2.3"))]);
    Value::object([
        ("build".to_owned(), job("Succeeded", outputs)),
        ("lint".to_owned(), job("Skipped", Value::object([]))),
    ])
}

fn holds(text: &str, status: TaskResult) -> Result<bool, EvaluateError> {
    let expression = Expression::parse(text, Place::Step).unwrap();
    expression.holds(&Scope {
        variable: &variable,
        status: &status,
        dependencies: &Value::Null,
    })
}

fn of_job(text: &str) -> Result<Value, EvaluateError> {
    let expression = Expression::parse(text, Place::Job).unwrap();
    expression.value(&Scope {
        variable: &variable,
        status: &Run,
        dependencies: &dependencies(),
    })
}

#[test]
fn status_functions_of_steps() {
    use TaskResult::{Canceled, Failed, Succeeded, SucceededWithIssues};
    for (text, yes) in [
        ("succeeded()", &[Succeeded, SucceededWithIssues][..]),
        ("failed()", &[Failed]),
        (
            "succeededOrFailed()",
            &[Succeeded, SucceededWithIssues, Failed],
        ),
        ("canceled()", &[Canceled]),
        (
            "ALWAYS()",
            &[Succeeded, SucceededWithIssues, Failed, Canceled],
        ),
    ] {
        for status in [Succeeded, SucceededWithIssues, Failed, Canceled] {
            let expected = Ok(yes.contains(&status));
            assert_eq!(holds(text, status), expected, "{text} {status}");
        }
    }
}

#[test]
fn a_table_of_expressions() {
    for (text, expected) in [
        (
            "eq(variables['Build.SourceBranch'], 'REFS/heads/MAIN')",
            true,
        ),
        ("and(succeeded(), ne(variables.missing, 'x'))", true),
        ("eq(variables.flag, true)", false),
        ("eq(variables.flag, false)", true),
        // The right side turns into the left one's kind: any text is true.
        ("eq(true, variables.flag)", true),
        ("gt(variables.count, 2)", false),
        ("gt(2, variables.count)", false),
        ("lt(2, variables['count'])", true),
        ("eq(variables.missing, '')", true),
        ("eq(variables[variables.missing], '')", true),
        ("in('b', 'a', 'B')", true),
        ("notIn('b', 'a', 'c')", true),
        ("contains('hello', 'ELL')", true),
        ("contains('hello', '')", true),
        (
            "startsWith(variables['build.sourcebranch'], 'refs/heads/')",
            true,
        ),
        ("endsWith('abc', 'bc')", true),
        ("eq(coalesce(variables.missing, '', 'x'), 'x')", true),
        ("eq(format('{0}-{{{1}}}', 'a', 1.50), 'a-{1.5}')", true),
        ("ge(1.10.0, 1.9.5)", true),
        ("eq(1.2.0, '1.2.0')", true),
        ("eq(1, '01')", true),
        ("eq(1000, '1,000')", true),
        ("eq(0, '')", true),
        ("eq('0', -0.0)", true),
        ("xor(true, false)", true),
        ("not(or(false, ''))", true),
        ("containsValue(split('a;b', ';'), 'B')", true),
        ("eq(join('-', split('a,b', ',')), 'a-b')", true),
        ("eq(join('-', 'x'), 'x')", true),
        ("eq(length('four'), 4)", true),
        ("eq(length(split('a,b,c', ',')), 3)", true),
        ("eq(iif(failed(), 'f', upper('s')), 'S')", true),
        ("eq(split('a,b', ',')[1], 'b')", true),
        ("eq(split('a,b', ',')[7], '')", true),
        ("eq(split('a,b', ',')[-1], '')", true),
        ("eq('it''s', 'it''s')", true),
        ("eq(replace('a-b', '-', '+'), 'a+b')", true),
        ("eq(replace('ab', '', '+'), 'ab')", true),
        ("eq(trim(' a '), 'a')", true),
        (
            "eq(convertToJson(split('a,\"', ',')), '[\"a\",\"\\\"\"]')",
            true,
        ),
    ] {
        assert_eq!(holds(text, TaskResult::Succeeded), Ok(expected), "{text}");
    }
}

#[test]
fn jobs_see_results_and_outputs_of_their_dependencies() {
    for (text, expected) in [
        ("dependencies.build.result", "Succeeded"),
        ("dependencies['BUILD']['Result']", "Succeeded"),
        ("dependencies.build.outputs['setter.version']", "1.2.3"),
        ("dependencies.build.outputs['setter.missing']", ""),
        ("dependencies.nobody.outputs['setter.version']", ""),
        ("join(',', dependencies.*.result)", "Succeeded,Skipped"),
        ("join(',', dependencies[*].outputs.*)", "1.2.3"),
        (
            "join(',', dependencies.*.outputs['setter.version'])",
            "1.2.3",
        ),
        ("containsValue(dependencies.*.result, 'skipped')", "True"),
        (
            "in(dependencies.lint.result, 'Succeeded', 'Skipped')",
            "True",
        ),
        ("succeeded('build')", "True"),
        ("succeeded('build', 'lint')", "False"),
        ("length(dependencies)", "2"),
        (
            "convertToJson(dependencies.lint)",
            r#"{"outputs":{},"result":"Skipped"}"#,
        ),
    ] {
        let found = of_job(text).unwrap().text().unwrap_or_default();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_has_no_value_is_an_error() {
    for (text, error) in [
        ("gt(1, 'abc')", EvaluateError::NotComparable),
        ("lt(split('a', ','), 1)", EvaluateError::NotComparable),
        ("eq(format('{3}', 1), '')", EvaluateError::Format),
        ("eq(format('{', 1), '')", EvaluateError::Format),
        ("eq(convertToJson(variables), '')", EvaluateError::Json),
    ] {
        assert_eq!(holds(text, TaskResult::Succeeded), Err(error), "{text}");
    }
}

#[test]
fn texts_cannot_grow_without_bound() {
    let wide = "x".repeat(400);
    let mut text = "'x'".to_owned();
    for _ in 0..40 {
        text = format!("replace({text}, 'x', '{wide}')");
    }
    let found = holds(&format!("eq({text}, '')"), TaskResult::Succeeded);
    assert_eq!(found, Err(EvaluateError::TooBig));
    let long = "x".repeat(4000);
    let many = vec!["{0}"; 2000].concat();
    let found = holds(
        &format!("eq(format('{many}', '{long}'), '')"),
        TaskResult::Succeeded,
    );
    assert_eq!(found, Err(EvaluateError::TooBig));
}

#[test]
fn a_trace_shows_the_expression_its_values_and_its_result() {
    let lines = |text: Option<&str>, status: TaskResult| {
        let expression = Expression::condition(text).unwrap();
        let scope = Scope {
            variable: &variable,
            status: &status,
            dependencies: &Value::Null,
        };
        expression.trace(&scope).lines()
    };
    assert_eq!(
        lines(
            Some("AND(succeeded(),eq(variables.flag, 'it''s'), variables.none)"),
            TaskResult::Failed
        ),
        [
            "Evaluating: and(succeeded(), eq(variables['flag'], 'it''s'), variables['none'])",
            "Expanded: and(False, eq('false', 'it''s'), Null)",
            "Result: False",
        ]
    );
    assert_eq!(
        lines(None, TaskResult::Failed),
        ["Evaluating: SucceededNode()", "Result: False"]
    );
}
