// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>

#include "kube/api/session.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// Tells the cluster that pods may be put on the node: the condition NetworkUnavailable becomes
/// False, and the taint node.weir.io/agent-not-ready goes. Tries until both are done; what is not
/// allowed is said once.
boost::asio::awaitable<void> report_node_ready(Session& session, std::string node);

}  // namespace weir::kube::api
