// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include <sys/types.h>

#include "support/place.h"

namespace weir::test {

/// Runs `work` in a forked child at `place` and returns its text, or what went wrong in words that
/// no test expects ("child: ..."): an exception, a signal, no end within twenty seconds.
std::string in_child(const Place& place, const std::function<std::string()>& work);

/// A forked child that runs until this object goes. The constructor returns when `work` has called
/// ready(), and throws if it fails before.
class BackgroundChild {
  public:
    using Ready = std::function<void()>;
    BackgroundChild(const Place& place, const std::function<void(const Ready& ready)>& work);
    BackgroundChild(BackgroundChild&& other) noexcept;
    BackgroundChild& operator=(BackgroundChild&&) = delete;
    BackgroundChild(const BackgroundChild&) = delete;
    BackgroundChild& operator=(const BackgroundChild&) = delete;
    ~BackgroundChild();

    [[nodiscard]] pid_t pid() const { return pid_; }

  private:
    pid_t pid_;
};

}  // namespace weir::test
