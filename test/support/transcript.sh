# Transcripts: what was typed and what Kubernetes answers, one after the other, as in a terminal.
#
#   $ k create deployment web --image=demo     a command (any shell line; k is the kubectl under test)
#   < kind: Pod                                its standard input
#   deployment.apps/web created                its standard output
#   ! Warning: something                       its standard error
#   = 1                                        its exit status, where that is not 0
#
# `$20` and `$32` are for that kubectl (1.20, or 1.32 and newer) alone; a `~` at the end (`$~`, `$32~`) runs the command
# again until the answer is as expected, for fifteen seconds. Runs of spaces count as one and empty lines as none.
# `<any>` stands for any text, and a line of `...` for any number of lines, or none. `#` begins a comment.

# play_all NAME...: plays scenario/kubectl/NAME.txt (or the file NAME) with every kubectl, each in an empty cluster whose
# context has the namespace `play`, with the image busybox:test; then exits.
play_all() {
  local archive name
  (cd "$TMPDIR" && "$PROJECT/scripts/make-test-images" -o images busybox:test >/dev/null) || fail "make-test-images"
  for archive in "$TMPDIR"/images/*.tar; do "$SKIFF" image load "$archive" >/dev/null || fail "image load"; done
  for KUBECTL in $(kubectls); do
    PLAYED=0
    for name in "$@"; do
      start_cluster >/dev/null 2>&1
      k create namespace play >/dev/null
      k config set-context --current --namespace=play >/dev/null
      if [ -f "$name" ]; then play "$name"; else play "$PROJECT/test/scenario/kubectl/$name.txt"; fi
      "$SKIFF" delete >/dev/null 2>&1 || fail "skiff delete"
    done
    say "== $(k version --client -o json | jq -r .clientVersion.gitVersion): $PLAYED commands"
  done
  exit "$FAILED"
}

# play FILE: runs a transcript and reports every command that answered otherwise.
play() {
  local line marker="" command="" input="" expected="" errors="" status=0 number=0 began=0 minor
  minor=$(k version --client -o json | jq -r '.clientVersion.minor | rtrimstr("+")')
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    case $line in
      '$'*' '*)
        play_one "${1##*/}:$began"
        marker=${line%% *} command=${line#* } input="" expected="" errors="" status=0 began=$number ;;
      '< '*) input+="${line#< }"$'\n' ;;
      '!'*) line=${line#!}; errors+="${line# }"$'\n' ;;
      '= '*) status=${line#= } ;;
      '# '* | '') ;;
      *) expected+="$line"$'\n' ;;
    esac
  done <"$1"
  play_one "${1##*/}:$began"
}

# play_one PLACE: runs the command that play has read, if it is one for this kubectl.
play_one() {
  [ -n "$command" ] || return 0
  case $marker in
    '$20'*) [ "$minor" -lt 32 ] || return 0 ;;
    '$32'*) [ "$minor" -ge 32 ] || return 0 ;;
  esac
  local deadline=$(($(date +%s) + 15)) got
  PLAYED=$((${PLAYED:-0} + 1))
  while :; do
    eval "$command" >"$TMPDIR/stdout" 2>"$TMPDIR/stderr" < <(printf '%s' "$input")
    got=$?
    if [ -n "${RECORD:-}" ]; then record_one; return 0; fi
    if [ "$got" = "$status" ] && like "$TMPDIR/stdout" "$expected" && like "$TMPDIR/stderr" "$errors"; then
      return 0
    fi
    case $marker in *'~') [ "$(date +%s)" -ge "$deadline" ] || { sleep 0.1; continue; } ;; esac
    fail "$1: $command
$(sed 's/^/  /' "$TMPDIR/stdout"; sed 's/^/  ! /' "$TMPDIR/stderr"; echo "  = $got"; echo "--- instead of"
  printf '%s' "$expected" | sed 's/^/  /'; printf '%s' "$errors" | sed 's/^/  ! /'; echo "  = $status")"
    return 0
  done
}

# Prints what happened as a transcript, for a writer to judge.
record_one() {
  printf '%s %s\n' "$marker" "$command"
  printf '%s' "$input" | sed 's/^/< /'
  awk '{ print }' "$TMPDIR/stdout"
  awk '{ print "! " $0 }' "$TMPDIR/stderr"
  [ "$got" = 0 ] || echo "= $got"
}

# like FILE PATTERN: whether the text is as a transcript has it.
like() {
  local text pattern
  text=$(tr -s ' \t' ' ' <"$1" | awk '{ sub(/ $/, "") } $0 != "" { print }'; echo .)
  pattern=$(printf '%s' "$2" | tr -s ' \t' ' ' | sed -e 's/[][\\*?]/\\&/g' -e 's/<any>/*/g' |
    awk '{ sub(/ $/, "") } $0 == "..." { printf "*"; next } $0 != "" { print }'; echo .)
  # shellcheck disable=SC2053
  [[ $text == $pattern ]]
}
