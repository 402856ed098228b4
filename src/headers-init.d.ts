/** Connect's declarations name this type of the DOM library, which a server has no other use for. */
type HeadersInit = ConstructorParameters<typeof Headers>[0];
