# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
