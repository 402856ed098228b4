/** Quotas: how many of a namespace or a lane run at once, and how many start per window. */
export { listQuotas, type QuotaRow, readQuota } from './list.js';
export { putQuota, type QuotaLimits } from './put.js';
