#!/usr/bin/env bash
# What people type to change things, by every kubectl there is, and what Kubernetes answers. ONLY names the transcripts
# to play instead.
source "$(dirname "$0")/../support/scenario.sh"
source "$PROJECT/test/support/transcript.sh"
play_all ${ONLY:-create change apply}
