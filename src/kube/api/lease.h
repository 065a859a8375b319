// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "kube/api/election.h"

/// Leases (coordination.k8s.io/v1) as the API server has them, in JSON.
namespace weir::kube::api {

/// "/apis/coordination.k8s.io/v1/namespaces/NS/leases".
std::string lease_path(std::string_view ns);
/// Of an answer that is a Lease.
Result<LeaseRecord> read_lease(std::string_view body);
/// For a create, or, with a resourceVersion, for a merge that is refused unless this is the
/// Lease's.
std::string lease_json(std::string_view ns, std::string_view name, const LeaseRecord& record);

}  // namespace weir::kube::api
