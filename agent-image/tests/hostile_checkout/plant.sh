# Plants everything that could make somebody's git run a program or talk to a server of this script's choice.
# SERVICE and STRANGER are URLs. What runs leaves a mark.
t=$AGENT_TEMPDIRECTORY
mkdir -p "$t/marks" "$t/hooks" "$t/template/hooks" "$t/bin" ~/.config/git
trap_named() {
  printf '#!/bin/sh\ntouch "%s"\n%s\n' "$t/marks/$1" "$2" >"$t/bin/$1"
  chmod +x "$t/bin/$1"
}
trap_named filter cat
trap_named hook
trap_named fsmonitor
trap_named helper
trap_named ssh 'exit 1'
trap_named askpass 'echo x'
trap_named proxy 'exit 1'
trap_named git 'exec /usr/bin/git "$@"'
for hook in post-checkout reference-transaction post-index-change post-merge pre-auto-gc; do
  cp "$t/bin/hook" "$t/hooks/$hook"
  cp "$t/bin/hook" "$t/template/hooks/$hook"
done
echo '* filter=x' >"$t/attributes"
cat >"$t/included" <<EOF
[core]
	hooksPath = $t/hooks
	fsmonitor = $t/bin/fsmonitor
EOF
cat >"$t/config" <<EOF
[core]
	sshCommand = $t/bin/ssh
	askPass = $t/bin/askpass
	gitProxy = $t/bin/proxy
	attributesFile = $t/attributes
[filter "x"]
	clean = $t/bin/filter
	smudge = $t/bin/filter
	required = true
[credential]
	helper = $t/bin/helper
[http]
	proxy = $STRANGER
	extraHeader = X-Planted: yes
[url "$STRANGER/"]
	insteadOf = $SERVICE
	insteadOf = $SERVICE/
[lfs]
	url = $STRANGER/lfs
[init]
	templateDir = $t/template
[protocol]
	allow = always
[include]
	path = $t/included
EOF
cp "$t/config" ~/.gitconfig
cp "$t/config" ~/.config/git/config
cp "$t/attributes" ~/.config/git/attributes
if [ -d .git ]; then
  cat "$t/config" >>.git/config
  cp "$t/hooks/"* .git/hooks/ 2>/dev/null || { mkdir -p .git/hooks && cp "$t/hooks/"* .git/hooks/; }
  mkdir -p .git/info && cp "$t/attributes" .git/info/attributes
fi
set_variable() { echo "##vso[task.setvariable variable=$1]$2"; }
set_variable XDG_CONFIG_HOME "$HOME/.config"
set_variable GIT_CONFIG_GLOBAL "$t/config"
set_variable GIT_CONFIG_SYSTEM "$t/config"
set_variable GIT_CONFIG_PARAMETERS "'core.hooksPath=$t/hooks'"
set_variable GIT_EXTERNAL_DIFF "$t/bin/hook"
set_variable GIT_SSH_COMMAND "$t/bin/ssh"
set_variable GIT_ASKPASS "$t/bin/askpass"
set_variable GIT_PROXY_COMMAND "$t/bin/proxy"
set_variable GIT_TEMPLATE_DIR "$t/template"
set_variable http_proxy "$STRANGER"
set_variable HTTPS_PROXY "$STRANGER"
set_variable ALL_PROXY "$STRANGER"
echo "##vso[task.prependpath]$t/bin"
echo everything is planted
