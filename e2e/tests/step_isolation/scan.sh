# A hostile step: searches everything that it can reach for values that it knows the beginning of.
#
# The values are given in hexadecimal and stay so: neither this script, nor the memory of the shell that runs it, nor
# the arguments of what it starts hold one of them. What is found is therefore somebody else's, or was planted here to
# show that the search finds. Prints one line per finding:
#   FOUND value in kind place          CLOSED kind place          SOCKET ...          LISTENER ...
export LC_ALL=C
shopt -s nullglob
declare -A regex
any=

value() {
  local escaped='' i
  for ((i = 0; i < ${#2}; i += 2)); do escaped+="\\x${2:i:2}"; done
  regex[$1]=$escaped
  any+="${any:+|}$escaped"
}

@VALUES@

# Which values a stream that can be repeated holds.
name_them() {
  local kind=$1 place=$2 name
  shift 2
  for name in "${!regex[@]}"; do
    if "$@" 2>/dev/null | grep -qaP -e "${regex[$name]}"; then echo "FOUND $name in $kind $place"; fi
  done
}

look() {
  local kind=$1 place=$2
  shift 2
  if "$@" 2>/dev/null | grep -qaP -e "$any"; then name_them "$kind" "$place" "$@"; fi
}

# In subshells, so that what is planted does not stay in this shell's memory.
plant() {
  mkdir -p /work/planted
  local name
  for name in "${!regex[@]}"; do
    (printf "${regex[$name]}" >"/work/planted/$name")
  done
  (
    planted=$(printf "${regex[canary]}")
    CANARY=$planted exec sleep 600
  ) &
  in_environment=$!
  (
    planted=$(printf "${regex[canary]}")
    while sleep 1; do : "$planted"; done
  ) &
  in_memory=$!
  # Until both hold what they should.
  until grep -qz '^CANARY=' "/proc/$in_environment/environ"; do sleep 0.05; done
  until [ -n "$(cat "/proc/$in_memory/task/$in_memory/children")" ]; do sleep 0.05; done
  echo "PLANTED environment $in_environment"
  echo "PLANTED memory $in_memory"
}

search_files() {
  local everywhere=(find / '(' -path /proc -o -path /sys ')' -prune -o -type f)
  echo "FILES $("${everywhere[@]}" -readable -printf x 2>/dev/null | wc -c)"
  "${everywhere[@]}" ! -readable -printf 'CLOSED file %p\n' 2>/dev/null
  local file
  while IFS= read -r file; do
    name_them file "$file" cat "$file"
  done < <("${everywhere[@]}" -readable -print0 2>/dev/null | xargs -0 -r grep -laP -e "$any" -- 2>/dev/null)
}

region() { dd "if=/proc/$1/mem" bs=1M iflag=skip_bytes,count_bytes "skip=$2" "count=$3" status=none; }

search_memory() {
  local pid=$1 range rights path start end
  if ! { : <"/proc/$pid/mem"; } 2>/dev/null || [ -z "$(cat "/proc/$pid/maps" 2>/dev/null)" ]; then
    echo "CLOSED memory $pid"
    return
  fi
  echo "OPEN memory $pid"
  while read -r range rights _ _ _ path; do
    # What is mapped from a file and cannot be written is in the file.
    case "$rights $path" in
      -*) continue ;;
      r-*' /'* | *'[vvar'* | *'[vsyscall]') continue ;;
    esac
    start=$((16#${range%-*})) end=$((16#${range#*-}))
    ((end - start > 1 << 28)) && continue
    look memory "$pid" region "$pid" "$start" "$((end - start))"
  done <"/proc/$pid/maps"
}

search_process() {
  local pid=$1 fd target
  echo "PROCESS $pid $(cat "/proc/$pid/comm" 2>/dev/null)"
  if [ -r "/proc/$pid/environ" ] && cat "/proc/$pid/environ" >/dev/null 2>&1; then
    look environment "$pid" cat "/proc/$pid/environ"
  else
    echo "CLOSED environment $pid"
  fi
  look arguments "$pid" cat "/proc/$pid/cmdline"
  if ! ls "/proc/$pid/fd" >/dev/null 2>&1; then echo "CLOSED descriptors $pid"; fi
  for fd in "/proc/$pid/fd"/*; do
    target=$(readlink "$fd" 2>/dev/null) || continue
    echo "DESCRIPTOR $pid $target"
    if [ -f "$fd" ]; then look descriptor "$pid:$target" cat "$fd"; fi
  done
  search_memory "$pid"
}

search_sockets() {
  local flags state address path
  while read -r _ _ _ flags _ _ _ path; do
    case "$path" in @*) echo "SOCKET abstract $path" ;; esac
    if ((16#$flags & 0x10000)); then echo "SOCKET listening ${path:-unnamed}"; fi
  done < <(tail -n +2 /proc/net/unix)
  find / '(' -path /proc -o -path /sys ')' -prune -o -type s -printf 'SOCKET file %p\n' 2>/dev/null
  while read -r _ address _ state _; do
    if [ "$state" = 0A ]; then echo "LISTENER $address"; fi
  done < <(tail -q -n +2 /proc/net/tcp /proc/net/tcp6 2>/dev/null)
}

plant
search_files
for process in /proc/[0-9]*; do search_process "${process#/proc/}"; done
search_sockets
kill "$in_environment" "$in_memory"
echo "SEARCHED everything"
