# shellcheck shell=bash
# Removes containers without asking containerd: it may be dead already.

# Every container has a directory of its own ("bundle") in containerd's state,
# with the pid of its first process.
bundles() { find "$DAYFLY_STATE/run/containerd/io.containerd.runtime.v2.task/k8s.io" -mindepth 1 -maxdepth 1 -type d 2>/dev/null; }

kill_containers() {
  local bundle
  local sockets=() socket
  while read -r bundle; do
    # The shims listen in a directory that all containerds of a machine share.
    socket="$(cat "$bundle/address" 2>/dev/null || true)"
    case "$socket" in unix:///run/containerd/s/*) sockets+=("${socket#unix://}") ;; esac
    kill_bundle "$bundle"
  done < <(bundles)
  kill_shims
  [ "${#sockets[@]}" = 0 ] || rm -f "${sockets[@]}"
}

# A pid alone may be somebody else's by now: only a process whose cgroup bears
# the container's id is killed, and with it all that is in that cgroup.
kill_bundle() { # directory
  local id pid path
  id="$(basename "$1")"
  pid="$(cat "$1/init.pid" 2>/dev/null)" || return 0
  path="$(sed -n 's/^[0-9]*:\(pids\)\{0,1\}://p' "/proc/$pid/cgroup" 2>/dev/null | head -n 1)" || return 0
  case "$path" in *"$id"*) ;; *) return 0 ;; esac
  local procs=("/sys/fs/cgroup/pids$path/cgroup.procs" "/sys/fs/cgroup$path/cgroup.procs") p
  {
    echo "$pid"
    cat "${procs[@]}" 2>/dev/null || true
  } | while read -r p; do kill -KILL "$p" 2>/dev/null || true; done
}

# The shims of our own containerd are known by the socket in their arguments.
shims() {
  local dir args
  for dir in /proc/[0-9]*; do
    args="$(tr '\0' ' ' 2>/dev/null <"$dir/cmdline")" || continue
    case "$args" in
      *containerd-shim-runc-v2*"-address $DAYFLY_CONTAINERD_SOCKET "*) echo "${dir#/proc/}" ;;
    esac
  done
}

kill_shims() {
  local tries=50 pid pids
  # A shim ends by itself soon after its containers; what is left is killed.
  for pid in $(shims); do kill -KILL "$pid" 2>/dev/null || true; done
  while pids="$(shims)" && [ -n "$pids" ] && [ "$tries" -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
  done
  [ -z "$pids" ] || die "shims do not end: $pids"
}

# Volumes, root filesystems and network namespaces, the innermost first.
unmount_state() {
  local mounts m
  mounts="$(awk '{print $2}' /proc/self/mounts | grep -F "$DAYFLY_STATE/" | sort -r || true)"
  while read -r m; do
    [ -z "$m" ] || umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null || true
  done <<<"$mounts"
}

# Only empty cgroups can be removed, so nobody else's is at risk.
remove_cgroups() {
  local dir
  for dir in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    [ -d "$dir" ] || continue
    find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

# The kubelet names its log files in a fixed place as well.
remove_log_links() {
  [ -d /var/log/containers ] || return 0
  find /var/log/containers -type l -lname "$DAYFLY_STATE/*" -delete
  rmdir /var/log/containers 2>/dev/null || true
}

remove_state() {
  ! grep -qF " $DAYFLY_STATE/" /proc/self/mounts ||
    die "still mounted below $DAYFLY_STATE: $(awk '{print $2}' /proc/self/mounts | grep -F "$DAYFLY_STATE/" | head -3)"
  rm -rf "$DAYFLY_STATE"
}
