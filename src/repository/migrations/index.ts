export { checkSchema, type MigrateOptions, migrate } from './apply.js';
export { checkRoleSettings } from './role-settings.js';
