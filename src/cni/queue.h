// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>

#include <boost/json/object.hpp>

#include "cni/failure.h"

namespace weir::cni {

/// Leaves a DEL for the agent to do when it is back: one file an attachment, whole or not there.
/// While the queue is locked `once_more` is asked whether the agent has done it after all, so that
/// none is queued behind an agent that has just emptied it. At most kQueueMaxEntries.
Outcome<void> queue_del(const std::filesystem::path& dir, const boost::json::object& request,
                        const std::function<bool()>& once_more);

}  // namespace weir::cni
