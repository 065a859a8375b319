// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "common/fd.h"
#include "common/result.h"

namespace weir::cli::run {

/// A program that ran to its end.
struct Finished {
    int status = 0;  ///< as of waitpid
    std::string out;
    std::string err;
};

/// Runs `program` with `environment` added to ours and `input` on its standard input. Killed when
/// `patience` is over (kUnavailable).
Result<Finished> run_program(const std::filesystem::path& program,
                             const std::map<std::string, std::string>& environment,
                             std::string_view input, std::chrono::milliseconds patience);

/// In a child before exec or other work: default signal dispositions, nothing blocked.
void reset_signals();

Result<Fd> open_pidfd(pid_t pid);
/// Exit status as a shell says it: the code, or 128 + signal.
int shell_status(int wait_status);
/// `bytes` random bytes in hexadecimal.
Result<std::string> random_hex(size_t bytes);

}  // namespace weir::cli::run
