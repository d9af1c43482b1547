extension FloatImage {
    /// Makes up for what enlarging a perturbation, and scaling the photo down again, takes from it.
    ///
    /// `y[i] = (5 x[i] - x[i - 1] - x[i + 1]) / 3`, edges repeated: along each column, then along
    /// each row, then clipped. Only for photos larger than the working view.
    ///
    /// - Returns: values in -1...1, like the values it is given.
    public func sharpened() -> FloatImage {
        var columns = self
        for row in 0..<height {
            let above = 3 * width * max(row - 1, 0)
            let here = 3 * width * row
            let below = 3 * width * min(row + 1, height - 1)
            for index in 0..<3 * width {
                columns.values[here + index] =
                    (5 * values[here + index] - values[above + index] - values[below + index]) / 3
            }
        }
        var result = columns
        for row in 0..<height {
            for column in 0..<width {
                let start = 3 * width * row
                let left = start + 3 * max(column - 1, 0)
                let here = start + 3 * column
                let right = start + 3 * min(column + 1, width - 1)
                for channel in 0..<3 {
                    let value =
                        (5 * columns.values[here + channel] - columns.values[left + channel]
                            - columns.values[right + channel]) / 3
                    result.values[here + channel] = min(max(value, -1), 1)
                }
            }
        }
        return result
    }
}
