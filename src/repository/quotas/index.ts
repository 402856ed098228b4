/** Quotas and concurrency keys: how many of a namespace, a lane or a key run at once, and how many start per window. */
export { KEY_AHEAD_COUNTED, type KeyUse, readKeyUse } from './key-use.js';
export { listQuotas, type QuotaRow, readQuota, readQuotasOver } from './list.js';
export { putQuota, type QuotaLimits } from './put.js';
