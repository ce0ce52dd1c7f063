#!/usr/bin/env bash
# What people type to look at things and into containers, by every kubectl there is, and what Kubernetes answers.
source "$(dirname "$0")/../support/scenario.sh"
source "$PROJECT/test/support/transcript.sh"
play_all look describe run auth
