#!/usr/bin/env bash
# Installs the programs that the tests talk to, where they are missing: by package name, into
# target/tools (or $TEST_TOOLS), without touching the system.
#
#   Debian packages  prometheus, promtool, amtool, victoria-metrics, docker-compose, libnss-wrapper, libfaketime,
#                    redis-server, valkey-server: downloaded and unpacked with an apt state of their own, from the mirror
#                    that this machine's apt uses
#   PyPI packages    tests/integration/programs/requirements.txt and packaging.txt: each into a virtual environment
#   npm packages     Grafana's types and its library of data, TypeScript and jsdom, for the dashboards
#   Go modules       tests/collector: an OpenTelemetry Collector, tests/alloy: Grafana Alloy's parser; built
#                    where Go is
#
# What cannot be had is said in one sentence, and the tests that need it are skipped: they fail
# where CI=true. Run it again at any time; it is quick when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=${TEST_TOOLS:-target/tools}
mkdir -p "$tools/bin"
tools=$(cd "$tools" && pwd)
log=$tools/install.log
: >"$log"

say() { echo "tools: $*" >&2; }
works() { "$1" --version >>"$log" 2>&1; }
# The loader refuses a library that needs a newer libc, and a program with it.
loads() { [[ -f $1 ]] && LD_PRELOAD=$1 env true >>"$log" 2>&1; }
runs() { case $1 in *.so | *.so.*) loads "$1" ;; *) works "$1" ;; esac }

# Newest first: programs of the test are better new, and theirs need no library but libc.
suites() {
  if [[ ${ID:-} == debian ]]; then echo "forky trixie ${VERSION_CODENAME:+$VERSION_CODENAME-backports}"; fi
}

# Packages that a program needs besides its own.
beside() {
  case $1 in
    redis-server) echo redis-tools liblzf1 libjemalloc2 libatomic1 ;;
    valkey-server) echo valkey-tools liblzf1 libjemalloc2 libatomic1 ;;
  esac
}

# Starts a program of $tools/debian with the libraries that were unpacked beside it. It becomes the program:
# a test that kills it kills no shell.
launcher() {
  cat <<EOF
#!/usr/bin/env bash
folder=\$(dirname "\$(readlink -f "\${BASH_SOURCE[0]}")")/../debian/$1
libraries=("\$folder"/usr/lib/*-linux-*/)
LD_LIBRARY_PATH=\${libraries[0]} exec "\$folder/$2" "\$@"
EOF
}

# apt-get with a state of its own in $apt; any user may.
own_apt() { APT_CONFIG=$apt/apt.conf apt-get -q "$@" >>"$log" 2>&1; }

# The mirror of Debian's main archive that this machine uses.
mirror() {
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' \
    "Release: ${VERSION_CODENAME:-}" 2>>"$log" | head -n 1
}

# Prepares $apt for a suite of Debian, or, without one, for what this machine's apt knows.
use_suite() {
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  {
    echo "Dir::State::lists \"$apt/lists\";"
    echo "Dir::Cache \"$apt/cache\";"
    echo 'APT::Sandbox::User "root";'
    echo 'Acquire::Languages "none";'
    echo 'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";'
    if [[ $1 ]]; then
      # What backports have leans on the suite itself.
      printf "deb [signed-by=$keyring] $(mirror) %s main\n" "$1" "${1%-backports}" >"$apt/sources.list"
      echo "Dir::Etc::sourcelist \"$apt/sources.list\";"
      echo 'Dir::Etc::sourceparts "-";'
    fi
  } >"$apt/apt.conf"
  own_apt update
}

# Downloads and unpacks a package, and takes one program of it. False when the program does not
# run here: its libc may be too new.
take_package() {
  local package=$1 unpacked=$tools/debian/$1
  rm -rf "$unpacked" && mkdir -p "$unpacked"
  # shellcheck disable=SC2046 # several words
  (cd "$unpacked" && own_apt download "$package" $(beside "$package") &&
    for deb in ./*.deb; do dpkg -x "$deb" . || exit 1; done && rm ./*.deb) || return 1
  local program=usr/bin/$package
  case $package in
    # Of this package only what checks configurations.
    prometheus-alertmanager) program=usr/bin/amtool ;;
    # A plug-in of docker that runs by itself, too.
    docker-compose) program=usr/libexec/docker/cli-plugins/$package ;;
    # No program, but what a program resolves names with.
    libnss-wrapper) program=$(cd "$unpacked" && echo usr/lib/*/libnss_wrapper.so) ;;
    # What a program reads the time with.
    libfaketime) program=$(cd "$unpacked" && echo usr/lib/*/faketime/libfaketimeMT.so.1) ;;
  esac
  if [[ $(beside "$package") ]]; then
    launcher "$package" "$program" >"$tools/bin/.$package"
    chmod +x "$tools/bin/.$package"
    if works "$tools/bin/.$package"; then
      mv "$tools/bin/.$package" "$tools/bin/$package"
      return 0
    fi
    rm "$tools/bin/.$package"
    return 1
  fi
  runs "$unpacked/$program" || return 1
  ln -sf "../debian/$package/$program" "$tools/bin/$package"
}

install_debian() {
  local wanted=() package suite
  for package in prometheus promtool prometheus-alertmanager victoria-metrics docker-compose libnss-wrapper \
    libfaketime redis-server valkey-server; do
    [[ -e $tools/bin/$package ]] || wanted+=("$package")
  done
  ((${#wanted[@]})) || return 0
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    say "${wanted[*]} cannot be installed here, this is no Debian: put the programs into $tools/bin."
    return 0
  fi
  say "installing ${wanted[*]}"
  # shellcheck source=/dev/null
  source /etc/os-release
  apt=$(mktemp -d)
  trap 'rm -rf "$apt"' EXIT
  for suite in $(suites) ""; do
    use_suite "$suite" || continue
    local left=()
    for package in "${wanted[@]}"; do
      take_package "$package" || left+=("$package")
    done
    wanted=("${left[@]}")
    ((${#wanted[@]})) || return 0
  done
  say "${wanted[*]} could not be installed from this machine's Debian mirror (see $log): their tests are skipped."
}

# PyPI packages of the file $1 in an environment of their own, $tools/$2; $3 is what is skipped without them.
# False when they are not there.
install_python() {
  local requirements=tests/integration/programs/$1 python=$tools/$2
  ! cmp -s "$requirements" "$python/requirements.txt" || return 0
  say "installing the PyPI packages of $requirements"
  if ! make_environment "$python"; then
    say "Python's venv is missing (Debian: apt-get install python3-venv): $3 are skipped."
    return 1
  fi
  if ! "$python/bin/python3" -m pip install --quiet --requirement "$requirements" >>"$log" 2>&1; then
    say "a package of $requirements could not be installed (see $log): $3 are skipped."
    return 1
  fi
  cp "$requirements" "$python/requirements.txt"
}

# The program of the package rotel.
link_rotel() {
  local rotel
  rotel=$("$tools/python/bin/python3" -c 'import rotel; print(rotel.__path__[0])')/rotel-agent
  chmod +x "$rotel"
  ln -srf "$rotel" "$tools/bin/rotel"
}

# A virtual environment at $1. Root may install what Debian keeps in a package of its own.
make_environment() {
  rm -rf "$1"
  python3 -m venv "$1" >>"$log" 2>&1 && return 0
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
  { apt-get -q update && apt-get -qy --no-install-recommends install python3 python3-venv; } >>"$log" 2>&1
  rm -rf "$1"
  python3 -m venv "$1" >>"$log" 2>&1
}

# The Collector of tests/collector, kept under its version.
install_collector() {
  local source=tests/collector version program
  version=$(sed -n 's,.*collector/otelcol \(v[0-9.]*\)$,\1,p' "$source/go.mod")
  program=otel-collector/$version/otel-collector
  if ! [[ -x $tools/$program && $tools/$program -nt $source/main.go && $tools/$program -nt $source/go.mod ]]; then
    if ! command -v go >/dev/null; then
      say "Go is missing (https://go.dev/dl): the test with an OpenTelemetry Collector is skipped."
      return 0
    fi
    say "building an OpenTelemetry Collector $version, which takes some minutes"
    # Without a download of another Go: the one that is here is new enough, or it is not.
    if ! (cd "$source" && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-mod=readonly \
      go build -trimpath -buildvcs=false -ldflags="-s -w" -o "$tools/$program" .) >>"$log" 2>&1; then
      say "the Collector could not be built (see $log): its test is skipped."
      return 0
    fi
  fi
  ln -sf "../$program" "$tools/bin/otel-collector"
}

# The parser of tests/alloy.
install_alloy() {
  local source=tests/alloy program=$tools/bin/alloy-syntax
  ! [[ -x $program && $program -nt $source/main.go && $program -nt $source/go.mod ]] || return 0
  if ! command -v go >/dev/null; then
    say "Go is missing (https://go.dev/dl): the test of Alloy's configuration is skipped."
    return 0
  fi
  say "building Grafana Alloy's parser"
  if ! (cd "$source" && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-mod=readonly \
    go build -trimpath -buildvcs=false -o "$program" .) >>"$log" 2>&1; then
    say "Alloy's parser could not be built (see $log): its test is skipped."
  fi
}

# What the dashboards are checked with.
install_node() {
  local packages=(@grafana/schema@13.2.3 @grafana/data@13.2.3 jsdom@29.1.1 typescript@5.9.3) have=$tools/node/wanted
  ! cmp -s <(echo "${packages[@]}") "$have" || return 0
  if ! command -v npm >/dev/null; then
    say "npm is missing (https://nodejs.org): what checks the dashboards by Grafana's types and library is skipped."
    return 0
  fi
  say "installing ${packages[*]}"
  rm -rf "$tools/node" && mkdir -p "$tools/node"
  if ! npm install --prefix "$tools/node" --no-package-lock --no-audit --no-fund "${packages[@]}" >>"$log" 2>&1; then
    say "${packages[*]} could not be installed (see $log): what checks the dashboards by Grafana's types and library is skipped."
    rm -rf "$tools/node"
    return 0
  fi
  echo "${packages[@]}" >"$have"
}

install_debian &
debian=$!
if install_python requirements.txt python "tests with OTLP receivers"; then link_rotel; fi
install_python packaging.txt packaging "tests of the Helm chart, the site and the packages" || true
install_node
wait "$debian"
install_collector
install_alloy
