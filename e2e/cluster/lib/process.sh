# shellcheck shell=bash
# Daemons by pid file. A pid file holds the pid and its start time, so that a pid
# that the kernel has given to somebody else since is never taken for ours.

log_of() { echo "$DAYFLY_STATE/logs/$1.log"; }
pid_file_of() { echo "$DAYFLY_STATE/pids/$1"; }

# Field 22 of /proc/PID/stat. The name in field 2 may hold spaces: cut it off first.
start_time_of() { # pid
  local stat
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  stat="${stat##*) }"
  # shellcheck disable=SC2086 # split into fields on purpose
  set -- $stat
  [ "$1" != Z ] || return 1
  echo "${20}"
}

# Prints the pid of a daemon that runs, or fails.
running_pid() { # name
  local pid start
  read -r pid start 2>/dev/null <"$(pid_file_of "$1")" || return 1
  [ "$(start_time_of "$pid")" = "$start" ] || return 1
  echo "$pid"
}

start_daemon() { # name, command...
  local name="$1" pid
  shift
  if running_pid "$name" >/dev/null; then return 0; fi
  mkdir -p "$DAYFLY_STATE/logs" "$DAYFLY_STATE/pids"
  # A session of its own: it outlives this script and gets no Ctrl-C of the terminal.
  setsid "$@" </dev/null >>"$(log_of "$name")" 2>&1 9>&- &
  pid=$!
  echo "$pid $(start_time_of "$pid" || true)" >"$(pid_file_of "$name")"
}

stop_daemon() { # name, seconds to wait before SIGKILL
  local name="$1" pid tenths=$(($2 * 10))
  if pid="$(running_pid "$name")"; then
    kill -TERM "$pid" 2>/dev/null || true
    while [ "$tenths" -gt 0 ] && running_pid "$name" >/dev/null; do
      sleep 0.1
      tenths=$((tenths - 1))
    done
    if running_pid "$name" >/dev/null; then
      log "$name did not stop within $2 s: killing it"
      kill -KILL "$pid" 2>/dev/null || true
      sleep 0.2
    fi
  fi
  rm -f "$(pid_file_of "$name")"
}

# wait_until SECONDS LOG-NAME WHAT COMMAND...: the command decides; on a deadline,
# or as soon as the daemon is dead, the end of its log says why.
wait_until() {
  local deadline=$((SECONDS + $1)) seconds="$1" name="$2" what="$3"
  shift 3
  until "$@" >/dev/null 2>&1; do
    if ! running_pid "$name" >/dev/null; then
      show_log "$name"
      die "$name ended while waiting for: $what"
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
      show_log "$name"
      die "waited $seconds s for: $what"
    fi
    sleep 0.1
  done
}

show_log() { # name
  log "the last lines of $(log_of "$1"):"
  tail -n 20 "$(log_of "$1")" >&2 || true
}
