//! What a PowerShell step runs: the script between what the step's settings come to, as the task of Azure Pipelines puts
//! it together. Pure.

use std::fmt::Write;

/// Settings that say what PowerShell does with a kind of message: the input, the variable, and what the input is when absent.
const PREFERENCES: [(&str, &str, &str); 6] = [
    ("errorActionPreference", "ErrorActionPreference", "stop"),
    ("warningPreference", "WarningPreference", "default"),
    ("informationPreference", "InformationPreference", "default"),
    ("verbosePreference", "VerbosePreference", "default"),
    ("debugPreference", "DebugPreference", "default"),
    ("progressPreference", "ProgressPreference", "default"),
];
const ACTIONS: [&str; 4] = ["default", "stop", "continue", "silentlycontinue"];

/// A script with its settings.
pub(crate) struct PowerShell {
    /// What is run: the script itself, or the call of a file.
    pub(crate) script: String,
    /// Lines that set preferences.
    pub(crate) preferences: Vec<String>,
    pub(crate) show_warnings: bool,
    pub(crate) ignore_exit_code: bool,
}

/// The lines that set preferences; the error names an input that makes no sense.
pub(crate) fn preferences(input: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for (name, variable, absent) in PREFERENCES {
        let action = input(name).unwrap_or_else(|| absent.to_owned());
        if !ACTIONS.contains(&action.to_lowercase().as_str()) {
            return Err(format!(
                "Invalid {variable} '{action}'. The value must be one of: 'Default', 'Stop', 'Continue', or 'SilentlyContinue'"
            ));
        }
        if !action.eq_ignore_ascii_case("default") {
            lines.push(format!("${variable} = '{action}'"));
        }
    }
    Ok(lines)
}

/// The call of a script's file.
pub(crate) fn call(path: &str, arguments: &str) -> String {
    let call = format!(". '{}' {arguments}", quoted(path));
    call.trim_end().to_owned()
}

/// What pwsh is to run of a file.
pub(crate) fn command(file: &str, own_scope: bool) -> String {
    let operator = if own_scope { '&' } else { '.' };
    format!("{operator} '{}'", quoted(file))
}

impl PowerShell {
    /// The file's content. The mark at its beginning tells PowerShell that it is UTF-8.
    pub(crate) fn content(&self) -> String {
        let mut content = "\u{feff}".to_owned();
        for line in &self.preferences {
            // Writing to a string does not fail.
            let _ = writeln!(content, "{line}");
        }
        content += &if self.show_warnings {
            with_warnings(&self.script)
        } else {
            self.script.clone()
        };
        content.push('\n');
        if !self.ignore_exit_code {
            content += EXIT_CODE;
        }
        content
    }
}

/// Ends with the code of the last program that the script ran.
const EXIT_CODE: &str = r"if (!(Test-Path -LiteralPath variable:\LASTEXITCODE)) {
    Write-Host '##vso[task.debug]$LASTEXITCODE is not set.'
} else {
    Write-Host ('##vso[task.debug]$LASTEXITCODE: {0}' -f $LASTEXITCODE)
    exit $LASTEXITCODE
}
";

/// Warnings of the script become issues.
fn with_warnings(script: &str) -> String {
    format!(
        "$warnings = New-Object System.Collections.ObjectModel.ObservableCollection[System.Management.Automation.WarningRecord]
$null = Register-ObjectEvent -InputObject $warnings -EventName CollectionChanged -Action {{
    if ($Event.SourceEventArgs.Action -eq 'Add') {{
        $Event.SourceEventArgs.NewItems | ForEach-Object {{ Write-Host \"##vso[task.logissue type=warning;]$_\" }}
    }}
}}
Invoke-Command {{
{script}
}} -WarningVariable +warnings"
    )
}

fn quoted(path: &str) -> String {
    path.replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inputs: &[(&str, &str)]) -> Result<Vec<String>, String> {
        preferences(|name| {
            let mut inputs = inputs.iter();
            let found = inputs.find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn preferences_are_set_where_they_are_not_the_default() {
        assert_eq!(of(&[]).unwrap(), ["$ErrorActionPreference = 'stop'"]);
        let set = of(&[
            ("errorActionPreference", "Default"),
            ("verbosePreference", "Continue"),
        ]);
        assert_eq!(set.unwrap(), ["$VerbosePreference = 'Continue'"]);
        let wrong = of(&[("debugPreference", "x'; evil '")]).unwrap_err();
        assert!(wrong.starts_with("Invalid DebugPreference"), "{wrong}");
    }

    #[test]
    fn the_script_stands_between_its_settings_and_its_exit_code() {
        let mut made = PowerShell {
            script: "Write-Host 'hi'".to_owned(),
            preferences: vec!["$a = 'b'".to_owned()],
            show_warnings: false,
            ignore_exit_code: false,
        };
        let content = made.content();
        assert!(content.starts_with("\u{feff}$a = 'b'\nWrite-Host 'hi'\nif (!(Test-Path"));
        made.ignore_exit_code = true;
        assert_eq!(made.content(), "\u{feff}$a = 'b'\nWrite-Host 'hi'\n");
        made.show_warnings = true;
        let shown = made.content();
        assert!(shown.contains("Invoke-Command {\nWrite-Host 'hi'\n} -WarningVariable"));
    }

    #[test]
    fn paths_are_quoted() {
        assert_eq!(call("/a b/it's.ps1", "-X 1"), ". '/a b/it''s.ps1' -X 1");
        assert_eq!(command("/x.ps1", true), "& '/x.ps1'");
    }
}
