import CoreGraphics
@preconcurrency import Vision

/// Counts faces, to say so when there is none. Photos without a face are protected all the same.
public enum FaceFinder {
    /// - Parameter image: upright; a small one will do.
    /// - Returns: nil if Vision cannot tell.
    public static func count(in image: CGImage) -> Int? {
        let request = VNDetectFaceRectanglesRequest()
        do {
            try VNImageRequestHandler(cgImage: image, options: [:]).perform([request])
        } catch {
            return nil
        }
        return request.results?.count
    }
}
