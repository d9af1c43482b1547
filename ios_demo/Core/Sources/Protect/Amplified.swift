extension FloatImage {
    /// A unit perturbation as a picture: grey where nothing changes, black and white at -1 and 1.
    ///
    /// - Returns: levels 0 to 255. Against a bound of 8 levels that is amplified 16 times.
    public func amplified(strength: Double) -> FloatImage {
        let gain = Float(127.5 * strength)
        return FloatImage(height: height, width: width, values: values.map { 127.5 + gain * $0 })
    }
}
