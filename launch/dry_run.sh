# The scripts in this folder source this file. It handles --help and --dry-run, removes them from the
# arguments and defines:
#
#     run COMMAND ...    runs a command; with --dry-run, prints it instead
#     check_run WORDS    exits with 64 unless all words are options of `python -m pretrain_jax.main`
dry_run=false
words=()
for word in "$@"; do
  case "$word" in
    --dry-run) dry_run=true ;;
    --help | -h)
      sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p;}' "$0" # the first comment of the script
      exit 0
      ;;
    *) words+=("$word") ;;
  esac
done
set -- ${words[@]+"${words[@]}"}

run() {
  if $dry_run; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

refuse() {
  echo "$(basename "$0"): $1; see --help" >&2
  exit 64
}

check_run() {
  local word name value=false config=false
  for word in "$@"; do
    if $value && [[ "$word" != --* ]]; then
      value=false
      continue
    fi
    [[ "$word" == --* ]] || refuse "every argument must be an option that begins with --; received '$word'"
    name="${word#--}"
    name="${name%%=*}"
    name="${name//-/_}"
    value=false
    [[ "$word" == *=* ]] || value=true
    case "$name" in
      config) config=true ;;
      config.* | workdir | mode | topology | slices | wait | coordinator | processes | process) ;;
      accept_changes | go_back | json | search | full) value=false ;;
      *) refuse "unknown option --$name" ;;
    esac
  done
  $config || refuse "--config must name a config, such as --config=gpt2_nano"
}
